import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from insta_depth_gateway.accounts import Account, AccountSummary, KeyNotFound, KeyRefused, Ledger
from insta_depth_gateway.accounts.schema import PREFIX_LENGTH, Base
from insta_depth_gateway.errors import NotEnoughCredits, Unauthorized
from sqlalchemy import Engine, select

LEASE_S = 60


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(engine: Engine, clock: Clock) -> Ledger:
    return Ledger(engine, LEASE_S, clock)


@pytest.fixture
def other(engine: Engine, clock: Clock) -> Ledger:
    """The ledger of another gateway."""
    return Ledger(engine, LEASE_S, clock)


@pytest.fixture
def account(ledger: Ledger) -> Account:
    return ledger.create_key("me", Decimal(10))[0]


def hold(ledger: Ledger, account: Account, price: str = "1") -> str:
    reservation = uuid4().hex
    ledger.reserve(account, Decimal(price), reservation)
    return reservation


def account_of(ledger: Ledger) -> AccountSummary:
    """Return the only key's account, whose figures must add up."""
    (summary,) = ledger.summaries()
    assert summary.deposited == summary.balance + summary.held + summary.spent
    return summary


def places(ledger: Ledger) -> tuple[str, str, str]:
    """Return balance, held and spent."""
    summary = account_of(ledger)
    return str(summary.balance), str(summary.held), str(summary.spent)


def test_a_reservation_is_held_then_spent(ledger: Ledger, account: Account) -> None:
    reservation = uuid4().hex
    assert ledger.reserve(account, Decimal("2.5"), reservation) == Decimal("7.5")
    assert places(ledger) == ("7.5", "2.5", "0")
    assert ledger.spend(reservation)
    assert places(ledger) == ("7.5", "0", "2.5")
    assert account_of(ledger).requests == 1


def test_what_is_given_back_is_in_the_balance_again(ledger: Ledger, account: Account) -> None:
    assert ledger.give_back(hold(ledger, account))
    assert places(ledger) == ("10", "0", "0")
    assert account_of(ledger).requests == 0


@pytest.mark.parametrize("first", ["spend", "give_back"])
@pytest.mark.parametrize("second", ["spend", "give_back"])
def test_a_closed_reservation_stays_as_it_is(ledger: Ledger, account: Account, first: str, second: str) -> None:
    reservation = hold(ledger, account)
    assert getattr(ledger, first)(reservation)
    before = account_of(ledger)
    assert not getattr(ledger, second)(reservation)
    assert account_of(ledger) == before


def test_a_price_above_the_balance_is_refused_with_both_named(ledger: Ledger, account: Account) -> None:
    with pytest.raises(NotEnoughCredits, match=r"the request costs 10\.001 credits, the key has 10$"):
        hold(ledger, account, "10.001")
    assert places(ledger) == ("10", "0", "0")


def test_the_whole_balance_can_be_reserved(ledger: Ledger, account: Account) -> None:
    hold(ledger, account, "10")
    assert ledger.balance(account) == 0


def test_an_expired_reservation_is_returned_once(ledger: Ledger, other: Ledger, account: Account, clock: Clock) -> None:
    hold(ledger, account)
    clock.now_s += LEASE_S
    assert other.return_expired() == 0
    clock.now_s += 1
    assert other.return_expired() == 1
    assert other.return_expired() == 0
    assert places(ledger) == ("10", "0", "0")


def test_renewing_keeps_what_is_held(ledger: Ledger, other: Ledger, account: Account, clock: Clock) -> None:
    kept, left = hold(ledger, account, "3"), hold(other, account, "4")
    clock.now_s += LEASE_S
    assert ledger.renew() == 1
    clock.now_s += LEASE_S
    assert other.return_expired() == 1
    assert places(ledger) == ("7", "3", "0")
    assert ledger.spend(kept)
    assert not other.spend(left)


def test_what_was_returned_is_not_renewed(ledger: Ledger, account: Account, clock: Clock) -> None:
    hold(ledger, account)
    clock.now_s += LEASE_S + 1
    ledger.return_expired()
    assert ledger.renew() == 0


def test_a_reservation_returned_by_its_deadline_cannot_be_spent(
    ledger: Ledger, other: Ledger, account: Account, clock: Clock
) -> None:
    reservation = hold(ledger, account)
    clock.now_s += LEASE_S + 1
    other.return_expired()
    assert not ledger.spend(reservation)
    assert not ledger.give_back(reservation)
    assert places(ledger) == ("10", "0", "0")


def test_a_confirmed_reservation_is_held_for_another_lease(ledger: Ledger, account: Account, clock: Clock) -> None:
    reservation = hold(ledger, account)
    clock.now_s += LEASE_S
    ledger.confirm(account, Decimal(1), reservation)
    clock.now_s += LEASE_S
    assert ledger.return_expired() == 0
    assert ledger.spend(reservation)


def test_a_picture_whose_reservation_was_returned_is_paid_for(
    ledger: Ledger, other: Ledger, account: Account, clock: Clock
) -> None:
    reservation = hold(ledger, account, "4")
    clock.now_s += LEASE_S + 1
    assert other.return_expired() == 1
    ledger.confirm(account, Decimal(4), reservation)
    after = account_of(ledger)
    assert (after.balance, after.held) == (6, 4)
    assert ledger.spend(reservation)
    assert account_of(ledger).spent == 4


def test_a_picture_that_nobody_can_pay_for_any_more_is_refused(
    ledger: Ledger, other: Ledger, account: Account, clock: Clock
) -> None:
    reservation = hold(ledger, account, "6")
    clock.now_s += LEASE_S + 1
    other.return_expired()
    hold(other, account, "6")
    with pytest.raises(NotEnoughCredits):
        ledger.confirm(account, Decimal(6), reservation)
    after = account_of(ledger)
    assert (after.balance, after.held, after.spent) == (4, 6, 0)


def test_reserving_first_returns_what_the_key_itself_has_expired(
    ledger: Ledger, account: Account, clock: Clock
) -> None:
    neighbour, _ = ledger.create_key("neighbour", Decimal(10))
    hold(ledger, account, "10")
    hold(ledger, neighbour, "10")
    clock.now_s += LEASE_S + 1
    hold(ledger, account, "10")
    assert [str(each.held) for each in ledger.summaries()] == ["10", "10"]
    assert ledger.return_expired() == 1, "the neighbour's is still there"


def test_a_revoked_key_neither_is_found_nor_reserves(ledger: Ledger, clock: Clock) -> None:
    account, secret = ledger.create_key("me", Decimal(10))
    assert ledger.find(secret) == account
    ledger.revoke("me")
    assert ledger.find(secret) is None
    with pytest.raises(Unauthorized, match="revoked"):
        hold(ledger, account)
    assert places(ledger) == ("10", "0", "0")


def test_revoking_again_keeps_the_first_time(ledger: Ledger, account: Account, clock: Clock) -> None:
    first = int(clock.now_s)
    ledger.revoke("me")
    clock.now_s += 5
    ledger.revoke(account_of(ledger).prefix)
    assert account_of(ledger).revoked_at == first


def test_what_a_revoked_key_holds_can_be_closed(ledger: Ledger, account: Account) -> None:
    spent, returned = hold(ledger, account), hold(ledger, account)
    ledger.revoke("me")
    assert ledger.spend(spent)
    assert ledger.give_back(returned)
    assert places(ledger) == ("9", "0", "1")


@pytest.mark.parametrize("secret", ["", "idk_nonsense", "idk_\0", "idk_é", "\ud800"])
def test_an_unknown_secret_finds_no_account(ledger: Ledger, account: Account, secret: str) -> None:
    assert ledger.find(secret) is None


def test_secrets_are_not_in_the_database(ledger: Ledger, engine: Engine, database_url: str) -> None:
    _, secret = ledger.create_key("me", Decimal(10))
    rows = [str(row) for table in Base.metadata.tables.values() for row in rows_of(engine, table)]
    assert secret[:PREFIX_LENGTH] in "".join(rows)
    assert secret[PREFIX_LENGTH:] not in "".join(rows)
    if engine.url.database and engine.dialect.name == "sqlite":
        files = b"".join(path.read_bytes() for path in Path(engine.url.database).parent.glob("accounts.db*"))
        assert secret[:PREFIX_LENGTH].encode() in files
        assert secret[PREFIX_LENGTH:].encode() not in files


def test_every_secret_is_another(ledger: Ledger) -> None:
    assert len({ledger.create_key(str(number))[1] for number in range(20)}) == 20


def test_amounts_are_exact(ledger: Ledger) -> None:
    account, _ = ledger.create_key("me", Decimal("0.1"))
    assert ledger.add_credits("me", Decimal("0.2")) == Decimal("0.3")
    for _ in range(300):
        ledger.spend(hold(ledger, account, "0.001"))
    assert places(ledger) == ("0", "0", "0.3")
    with pytest.raises(NotEnoughCredits):
        hold(ledger, account, "0.001")


def test_the_largest_amount_is_kept_to_the_thousandth(ledger: Ledger) -> None:
    account, _ = ledger.create_key("me", Decimal(10**12))
    assert ledger.reserve(account, Decimal("0.001"), "r") == Decimal("999999999999.999")
    assert places(ledger) == ("999999999999.999", "0.001", "0")


@pytest.mark.parametrize(
    ("credits", "message"),
    [
        ("-1", "credits: -1 is not between 0 and 1000000000000"),
        ("1000000000000.001", "is not between 0 and 1000000000000"),
        ("NaN", "is not between"),
        ("sNaN", "is not between"),
        ("Infinity", "is not between"),
        ("0.0001", "credits: 0.0001 is finer than a thousandth"),
        ("1.0000000000000000000000000000001", "is finer than a thousandth"),
        ("1e-999999", "is finer than a thousandth"),
    ],
)
def test_an_amount_that_cannot_be_is_refused(ledger: Ledger, credits: str, message: str) -> None:
    with pytest.raises(KeyRefused, match=message):
        ledger.create_key("me", Decimal(credits))
    assert ledger.summaries() == []


@pytest.mark.parametrize("credits", ["0", "-1"])
def test_adding_nothing_is_refused(ledger: Ledger, account: Account, credits: str) -> None:
    with pytest.raises(KeyRefused, match=r"^credits: "):
        ledger.add_credits("me", Decimal(credits))
    assert places(ledger) == ("10", "0", "0")


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "two\nlines", "\udcff", "idk_like_a_secret"])
def test_a_name_that_cannot_be_is_refused(ledger: Ledger, name: str) -> None:
    with pytest.raises(KeyRefused, match=r"^name: "):
        ledger.create_key(name)


@pytest.mark.parametrize("limit", [-1, 1_000_001, 2**40])
def test_a_rate_limit_that_cannot_be_is_refused(ledger: Ledger, limit: int) -> None:
    with pytest.raises(KeyRefused, match=rf"^rate_limit: {limit} is not between 0 \(no limit\) and 1000000"):
        ledger.create_key("me", rate_limit_per_minute=limit)


def test_a_name_is_taken_once(ledger: Ledger, account: Account) -> None:
    with pytest.raises(KeyRefused, match="name: 'me' is taken"):
        ledger.create_key("me", Decimal(1))
    assert account_of(ledger).deposited == 10


@pytest.mark.parametrize("key", ["nobody", "", "\0", "\udcff"])
def test_a_key_that_is_not_there_is_said(ledger: Ledger, account: Account, key: str) -> None:
    with pytest.raises(KeyNotFound):
        ledger.add_credits(key, Decimal(1))
    with pytest.raises(KeyNotFound):
        ledger.revoke(key)


def test_a_key_is_named_by_its_prefix_too(ledger: Ledger, account: Account) -> None:
    assert ledger.add_credits(account_of(ledger).prefix, Decimal(1)) == 11


def test_a_limit_of_its_own_comes_with_the_account(ledger: Ledger) -> None:
    account, secret = ledger.create_key("me", rate_limit_per_minute=30)
    assert account.rate_limit_per_minute == 30
    assert ledger.find(secret) == account
    assert account_of(ledger).rate_limit_per_minute == 30


def test_reading_does_not_wait_for_whoever_writes(ledger: Ledger, engine: Engine, account: Account) -> None:
    with engine.begin() as writing:
        writing.exec_driver_sql("UPDATE api_keys SET balance = 1")
        assert within(5, lambda: ledger.balance(account)) == 10
        assert within(5, lambda: len(ledger.summaries())) == 1
        within(5, ledger.ping)


def rows_of(engine: Engine, table: object) -> list[object]:
    with engine.connect() as connection:
        return list(connection.execute(select(table)))  # type: ignore[call-overload]


def within(limit_s: float, call: Callable[[], object]) -> object:
    started_s = time.monotonic()
    result = call()
    assert time.monotonic() - started_s < limit_s
    return result
