"""The tables. Amounts are whole thousandths of a credit, times are whole seconds since 1970 (UTC).

At every moment, for each key: deposits = balance + held + spent. Only `ledger` writes; each transaction moves an amount
from one of these to another.
"""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAME_LENGTH = 100
PREFIX_LENGTH = 12

HELD, SPENT, RETURNED = "held", "spent", "returned"


class Base(DeclarativeBase):
    """Constraint names do not depend on the database, so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ApiKey(Base):
    """A key, stored as a hash, and its balance."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    prefix: Mapped[str] = mapped_column(String(PREFIX_LENGTH), unique=True)
    """The secret's first characters, to tell keys apart."""
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 in hexadecimal. The secret has 256 random bits, so a slow hash would add nothing."""
    balance: Mapped[int] = mapped_column(BigInteger)
    rate_limit_per_minute: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class Deposit(Base):
    """Credits that an operator added."""

    __tablename__ = "deposits"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Reservation(Base):
    """A request's price: held while it runs, then spent or returned."""

    __tablename__ = "reservations"
    __table_args__ = (Index("ix_reservations_state_deadline", "state", "deadline"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), index=True)
    owner: Mapped[str] = mapped_column(String(32), index=True)
    """The gateway process that holds it and extends its deadline."""
    amount: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(8))
    deadline: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    closed_at: Mapped[int | None] = mapped_column(BigInteger)
