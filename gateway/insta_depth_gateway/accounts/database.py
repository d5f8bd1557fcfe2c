"""Connecting to the accounts' database, SQLite or PostgreSQL, and bringing its tables up to date."""

import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from platformdirs import user_data_path
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x1D59
"""An arbitrary number that no other advisory lock in the database uses."""
_SQLITE_BUSY_S = 30
_POSTGRESQL_CONNECT_S = 10


class DatabaseUrlError(ValueError):
    """The database URL is unusable; the message says why and omits the password."""


def default_database_url() -> str:
    """Return the URL of an SQLite file in the user's data folder."""
    return f"sqlite:///{user_data_path('insta-depth') / 'accounts.db'}"


def connect(url: str, survives_power_cut: bool = True) -> Engine:
    """Return the engine for ``url``: ``sqlite:///path`` or ``postgresql://user:password@host/name``.

    ``survives_power_cut`` False: SQLite does not wait for the disk, so a power cut may undo the last transactions,
    each as a whole; a killed process loses none. Creates the folder of an SQLite file. Raises `DatabaseUrlError`.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUrlError("is not a database URL such as sqlite:///accounts.db") from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return _sqlite(parsed.set(drivername="sqlite"), "FULL" if survives_power_cut else "NORMAL")
    if kind == "postgresql":
        return _postgresql(parsed.set(drivername="postgresql+psycopg"))
    raise DatabaseUrlError(f"{kind} is neither sqlite nor postgresql")


def migrate(engine: Engine) -> None:
    """Bring the tables up to date; two processes that start at once wait for each other."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        command.upgrade(migration_config(connection), "head")


def migration_config(connection: Connection) -> Config:
    """Return Alembic's configuration for a connection in a transaction."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _sqlite(url: URL, synchronous: str) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise DatabaseUrlError("an SQLite database needs a file: accounts must outlive the process")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _SQLITE_BUSY_S})
    event.listen(engine, "connect", partial(_prepare_sqlite, synchronous))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(synchronous: str, connection: Any, _record: object) -> None:
    """Write-ahead logging allows reads during a write.

    With ``isolation_level`` None the driver leaves BEGIN to us.
    """
    connection.isolation_level = None
    _switch_to_wal(connection)
    for pragma in (f"synchronous={synchronous}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: Any) -> None:
    """Retry: while another process switches a new file, SQLite fails at once instead of waiting."""
    give_up_s = time.monotonic() + _SQLITE_BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a transaction that takes it later can fail midway.

    A single SELECT needs no transaction; in one it would wait for writers.
    """
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Engine:
    if "@" in (url.host or ""):
        # The end of the password would be read as the host, and appear in error messages.
        raise DatabaseUrlError("has an @ in its password: write it as %40")
    patient = url.set(query={"connect_timeout": str(_POSTGRESQL_CONNECT_S), **url.query})
    try:
        return create_engine(patient, pool_pre_ping=True, pool_size=8, max_overflow=8)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise DatabaseUrlError("PostgreSQL needs its driver: pip install 'insta-depth-gateway[postgresql]'") from None
