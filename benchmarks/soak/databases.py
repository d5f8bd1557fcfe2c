"""The accounts' database of a soak: a file, or a server of its own; either can go away for a while."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from .postgres import Server, create_database, find_programs, running_server

NAMES = ("sqlite", "postgresql")


class Database(Protocol):
    """Where the accounts are."""

    @property
    def url(self) -> str:
        """Its address, as SQLAlchemy takes it."""

    def away(self) -> contextlib.AbstractContextManager[None]:
        """Inside the block nobody can use it."""


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nobody else writes it: it is locked."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")


class _OnServer:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = create_database(server.url)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The server does not run; what it was doing is not finished."""
        self._server.stop()
        yield
        self._server.start()


@contextlib.contextmanager
def open_database(name: str, folder: Path) -> Iterator[Database]:
    """Yield one of `NAMES`; raises RuntimeError where PostgreSQL is not installed."""
    if name == "sqlite":
        yield _File(folder / "accounts.db")
        return
    programs = find_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    with running_server(programs) as server:
        yield _OnServer(server)
