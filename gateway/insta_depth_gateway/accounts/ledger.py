"""API keys and their balances. Nothing else writes to the accounts.

A request reserves its price before the work, and spends or returns it afterwards. Each step is one transaction that
begins with a conditional UPDATE. So a reservation is closed only once, and no balance falls below zero, however many
run concurrently. Each reservation has a deadline, which its gateway extends: what a killed gateway held is returned
after the deadline.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, and_, case, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from insta_depth_gateway.accounts.schema import (
    HELD,
    NAME_LENGTH,
    PREFIX_LENGTH,
    RETURNED,
    SPENT,
    ApiKey,
    Deposit,
    Reservation,
)
from insta_depth_gateway.errors import GatewayError, NotEnoughCredits, Unauthorized

SECRET_MARK = "idk_"
"""Prefix of every secret, by which scanners for leaked secrets can recognise it."""

_UNITS_PER_CREDIT = 1000
_SMALLEST_AMOUNT = Decimal("0.001")
_LARGEST_AMOUNT = Decimal(10**12)
_LARGEST_RATE = 1_000_000


class KeyNotFound(LookupError):
    """No key has this name or prefix."""


class KeyRefused(ValueError):
    """A key cannot be created or changed as asked; the message says why."""


@dataclass(frozen=True)
class Account:
    """A valid key. ``rate_limit_per_minute``: its own limit; None: the gateway's."""

    id: int
    name: str
    rate_limit_per_minute: int | None = None


@dataclass(frozen=True)
class AccountSummary:
    """One key's account, in credits: ``deposited`` = ``balance`` + ``held`` + ``spent``."""

    name: str
    prefix: str
    deposited: Decimal
    balance: Decimal
    held: Decimal
    spent: Decimal
    requests: int
    """Number of requests paid for."""
    rate_limit_per_minute: int | None
    created_at: int
    revoked_at: int | None


class Ledger:
    """Thread-safe. ``lease_s``: seconds until a reservation that is not renewed is returned."""

    def __init__(self, engine: Engine, lease_s: float = 30.0, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._clock = clock
        self.owner = uuid4().hex
        """Identifies the reservations of this object."""

    # Keys

    def create_key(
        self, name: str, credits: Decimal = Decimal(0), rate_limit_per_minute: int | None = None
    ) -> tuple[Account, str]:
        """Create a key; return its account and its secret, which is not stored. Raises `KeyRefused`."""
        secret, units = SECRET_MARK + secrets.token_urlsafe(32), to_units(credits)
        values = {
            "name": _checked_name(name),
            "prefix": secret[:PREFIX_LENGTH],
            "key_hash": _hashed(secret),
            "balance": units,
            "rate_limit_per_minute": _checked_rate(rate_limit_per_minute),
            "created_at": self._now,
        }
        try:
            with self._engine.begin() as connection:
                key_id = connection.scalar(insert(ApiKey).values(values).returning(ApiKey.id))
                self._deposit(connection, key_id, units)
        except IntegrityError:
            raise KeyRefused(f"name: {name!r} is taken") from None
        return Account(int(key_id or 0), name, rate_limit_per_minute), secret

    def add_credits(self, key: str, credits: Decimal) -> Decimal:
        """Add to the key with this name or prefix and return its balance. Raises `KeyNotFound`, `KeyRefused`."""
        units = to_units(credits)
        if units <= 0:
            raise KeyRefused(f"credits: {credits} is not above 0")
        paid_in = update(ApiKey).where(_named(key)).values(balance=ApiKey.balance + units)
        with self._engine.begin() as connection:
            row = connection.execute(paid_in.returning(ApiKey.id, ApiKey.balance)).one_or_none()
            if row is None:
                raise KeyNotFound(key)
            self._deposit(connection, row.id, units)
        return to_credits(row.balance)

    def revoke(self, key: str) -> None:
        """Revoke the key with this name or prefix; its account stays. Raises `KeyNotFound`."""
        revoked_at = func.coalesce(ApiKey.revoked_at, self._now)
        with self._engine.begin() as connection:
            if connection.execute(update(ApiKey).where(_named(key)).values(revoked_at=revoked_at)).rowcount == 0:
                raise KeyNotFound(key)

    def summaries(self) -> list[AccountSummary]:
        """Return the account of every key, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(_SUMMARIES).all()
        return [
            AccountSummary(
                name=row.name,
                prefix=row.prefix,
                deposited=to_credits(row.deposited),
                balance=to_credits(row.balance),
                held=to_credits(row.held),
                spent=to_credits(row.spent),
                requests=int(row.requests),
                rate_limit_per_minute=row.rate_limit_per_minute,
                created_at=row.created_at,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]

    def find(self, secret: str) -> Account | None:
        """Return the account of a secret, or None if it is unknown or revoked."""
        columns = (ApiKey.id, ApiKey.name, ApiKey.rate_limit_per_minute)
        found = select(*columns).where(ApiKey.key_hash == _hashed(secret), ApiKey.revoked_at.is_(None))
        with self._reading() as connection:
            row = connection.execute(found).one_or_none()
        return row and Account(row.id, row.name, row.rate_limit_per_minute)

    # Reservations

    def reserve(self, account: Account, price: Decimal, reservation_id: str) -> Decimal:
        """Reserve ``price`` and return the remaining balance.

        Raises `NotEnoughCredits`, or `Unauthorized` for a revoked key.
        """
        units = to_units(price)
        with self._engine.begin() as connection:
            balance = self._take(connection, account.id, units)
            if balance is None:
                # Try again even if nothing was returned: another process may just have done it while we waited.
                self._return_expired(connection, Reservation.key_id == account.id)
                balance = self._take(connection, account.id, units)
            if balance is not None:
                held = {"id": reservation_id, "key_id": account.id, "owner": self.owner, "amount": units, "state": HELD}
                connection.execute(insert(Reservation).values(held | self._fresh() | {"created_at": self._now}))
        if balance is None:
            raise self._refusal(account, price)
        return to_credits(balance)

    def confirm(self, account: Account, price: Decimal, reservation_id: str) -> None:
        """Extend a reservation before its picture is sent; take ``price`` again if it has expired and was returned.

        Raises as `reserve` does: what the reservation had held may be spent by now.
        """
        this = Reservation.id == reservation_id
        with self._engine.begin() as connection:
            held = update(Reservation).where(this, Reservation.state == HELD).values(self._fresh())
            if connection.execute(held).rowcount:
                return
            if is_taken := self._take(connection, account.id, to_units(price)) is not None:
                again = self._fresh() | {"state": HELD, "owner": self.owner, "closed_at": None}
                connection.execute(update(Reservation).where(this).values(again))
        if not is_taken:
            raise self._refusal(account, price)

    def spend(self, reservation_id: str, price: Decimal | None = None) -> bool:
        """Spend ``price`` of a reservation, None: all; return the rest to its key. False if it is no longer held."""
        this, units = Reservation.id == reservation_id, None if price is None else to_units(price)
        with self._engine.begin() as connection:
            rows = self._close(connection, this, SPENT)
            for key_id, amount in rows:
                if units is not None and amount > units:
                    connection.execute(update(Reservation).where(this).values(amount=units))
                    self._put_back(connection, key_id, amount - units)
        return rows != []

    def give_back(self, reservation_id: str) -> bool:
        """Return a reservation to its key; False if it is no longer held."""
        with self._engine.begin() as connection:
            return self._return(connection, Reservation.id == reservation_id) > 0

    def renew(self) -> int:
        """Extend the deadlines of this object's reservations; return how many there are."""
        mine = _locked((Reservation.owner == self.owner) & (Reservation.state == HELD))
        with self._engine.begin() as connection:
            return connection.execute(update(Reservation).where(mine).values(self._fresh())).rowcount

    def return_expired(self) -> int:
        """Return all expired reservations to their keys; return how many there were."""
        with self._engine.begin() as connection:
            return self._return_expired(connection)

    def balance(self, account: Account) -> Decimal:
        """Return the account's balance, without reservations."""
        with self._reading() as connection:
            return to_credits(connection.scalar(select(ApiKey.balance).where(ApiKey.id == account.id)) or 0)

    def ping(self) -> None:
        """Check that the database answers; raises SQLAlchemy's error if it does not."""
        with self._reading() as connection:
            connection.execute(select(1))

    def close(self) -> None:
        """Drop the connections."""
        self._engine.dispose()

    @property
    def _now(self) -> int:
        return int(self._clock())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection for a single SELECT: a consistent read without a lock."""
        with self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def _refusal(self, account: Account, price: Decimal) -> GatewayError:
        with self._reading() as connection:
            key = connection.execute(select(ApiKey.balance, ApiKey.revoked_at).where(ApiKey.id == account.id)).first()
        if key is None or key.revoked_at is not None:
            return Unauthorized("the key has been revoked")
        return NotEnoughCredits(price, to_credits(key.balance))

    def _fresh(self) -> dict[str, int]:
        return {"deadline": int(self._clock() + self._lease_s)}

    def _deposit(self, connection: Connection, key_id: int | None, units: int) -> None:
        connection.execute(insert(Deposit).values(key_id=key_id, amount=units, created_at=self._now))

    def _take(self, connection: Connection, key_id: int, units: int) -> int | None:
        """Lower the balance by ``units`` if it suffices and the key is not revoked; return the new balance."""
        allows = (ApiKey.id == key_id) & (ApiKey.balance >= units) & ApiKey.revoked_at.is_(None)
        taken = update(ApiKey).where(allows).values(balance=ApiKey.balance - units).returning(ApiKey.balance)
        return connection.scalar(taken)

    def _close(self, connection: Connection, which: Any, state: str) -> list[Any]:
        """Set ``state`` on the held reservations in ``which``; return (key_id, amount) of each."""
        closed = update(Reservation).where(which, Reservation.state == HELD).values(state=state, closed_at=self._now)
        return list(connection.execute(closed.returning(Reservation.key_id, Reservation.amount)))

    def _return(self, connection: Connection, which: Any) -> int:
        rows = self._close(connection, which, RETURNED)
        # Always in the same order, so that two large returns cannot deadlock.
        for key_id, amount in sorted(rows):
            self._put_back(connection, key_id, amount)
        return len(rows)

    @staticmethod
    def _put_back(connection: Connection, key_id: int, units: int) -> None:
        connection.execute(update(ApiKey).where(ApiKey.id == key_id).values(balance=ApiKey.balance + units))

    def _return_expired(self, connection: Connection, *which: Any) -> int:
        expired = and_(Reservation.state == HELD, Reservation.deadline < self._now, *which)
        return self._return(connection, _locked(expired))


def to_units(credits: Decimal) -> int:
    """Convert credits to whole thousandths. Raises `KeyRefused` for finer, negative or huge amounts."""
    if not credits.is_finite() or not 0 <= credits <= _LARGEST_AMOUNT:
        raise KeyRefused(f"credits: {credits} is not between 0 and {_LARGEST_AMOUNT}")
    # Round before multiplying: a product of more than 28 digits would be rounded silently.
    rounded = credits.quantize(_SMALLEST_AMOUNT)
    if rounded != credits:
        raise KeyRefused(f"credits: {credits} is finer than a thousandth")
    return int(rounded * _UNITS_PER_CREDIT)


def to_credits(units: int) -> Decimal:
    """Convert thousandths to credits: 12.5, 100."""
    return without_zeros(Decimal(units) / _UNITS_PER_CREDIT)


def without_zeros(credits: Decimal) -> Decimal:
    """Strip trailing zeros, without an exponent: 12.5, 100."""
    whole = credits.to_integral_value()
    return whole if credits == whole else credits.normalize()


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        raise KeyRefused(f"name: {name!r} is not 1 to {NAME_LENGTH} printable characters")
    if name.startswith(SECRET_MARK):
        raise KeyRefused(f"name: it starts with {SECRET_MARK}, as secrets and their prefixes do")
    return name


def _checked_rate(limit: int | None) -> int | None:
    if limit is not None and not 0 <= limit <= _LARGEST_RATE:
        raise KeyRefused(f"rate_limit: {limit} is not between 0 (no limit) and {_LARGEST_RATE} requests a minute")
    return limit


def _locked(which: Any) -> Any:
    """Match the reservations in ``which`` after locking them, always in the same order.

    Two transactions that lock the same rows in different orders would deadlock.
    """
    return Reservation.id.in_(select(Reservation.id).where(which).order_by(Reservation.id).with_for_update())


def _named(key: str) -> Any:
    if not key.isprintable():
        # No key has such a name, and not every database accepts it in a query.
        raise KeyNotFound(key)
    return or_(ApiKey.name == key, ApiKey.prefix == key)


def _sum_of(state: str) -> Any:
    return func.sum(case((Reservation.state == state, Reservation.amount), else_=0))


_RESERVED = (
    select(
        Reservation.key_id,
        _sum_of(HELD).label("held"),
        _sum_of(SPENT).label("spent"),
        func.sum(case((Reservation.state == SPENT, 1), else_=0)).label("requests"),
    )
    .group_by(Reservation.key_id)
    .subquery()
)
_DEPOSITED = select(Deposit.key_id, func.sum(Deposit.amount).label("deposited")).group_by(Deposit.key_id).subquery()
_SUMMARIES = (
    select(
        ApiKey,
        func.coalesce(_DEPOSITED.c.deposited, 0).label("deposited"),
        func.coalesce(_RESERVED.c.held, 0).label("held"),
        func.coalesce(_RESERVED.c.spent, 0).label("spent"),
        func.coalesce(_RESERVED.c.requests, 0).label("requests"),
    )
    .outerjoin(_DEPOSITED, _DEPOSITED.c.key_id == ApiKey.id)
    .outerjoin(_RESERVED, _RESERVED.c.key_id == ApiKey.id)
    .order_by(ApiKey.id)
)
