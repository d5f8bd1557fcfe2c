"""A throw-away PostgreSQL server from the installed Debian package."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

from ..python_server import free_port

_USER = "postgres"


def find_programs() -> Path | None:
    """Return the folder with initdb and pg_ctl, the newest version's, or None where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


def _version(folder: Path) -> float:
    return float(folder.parent.name)


@dataclass(frozen=True)
class Server:
    """A server on 127.0.0.1 with everything of its own in ``folder``."""

    programs: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The address of a database that is always there."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Write the files of an empty server."""
        data = self.folder / "data"
        _call(self.folder, self.programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        (data / "postgresql.auto.conf").write_text(_settings(self.folder, self.port), encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it can be connected to."""
        self._control("-l", self.folder / "log", "-t", "60", "start")

    def stop(self) -> None:
        """End it as a failing machine would: nothing is finished."""
        self._control("-m", "immediate", "stop")

    def _control(self, *arguments: str | Path) -> None:
        _call(self.folder, self.programs / "pg_ctl", "-D", self.folder / "data", "-w", *arguments)


@contextmanager
def running_server(programs: Path) -> Iterator[Server]:
    """Yield a fresh server, gone afterwards."""
    # In a folder that its user may enter: the server may not run as root.
    folder = Path(tempfile.mkdtemp(prefix="insta-depth-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)
    server = Server(programs, folder, free_port())
    try:
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def create_database(server_url: str) -> str:
    """Make an empty database on the server and return its URL."""
    name = f"test_{uuid4().hex}"
    engine = create_engine(make_url(server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def closed_database(server_url: str, database_url: str) -> Iterator[None]:
    """Inside the block nobody can connect to the database, and whoever was connected is thrown out."""
    name = make_url(database_url).database
    thrown_out = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    engine = create_engine(make_url(server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(thrown_out))
        yield
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    engine.dispose()


def _settings(folder: Path, port: int) -> str:
    return f"""\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 200
fsync = off
"""


def _call(folder: Path, *command: str | Path) -> None:
    as_user: dict[str, Any] = {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", **as_user)
    if done.returncode != 0:
        log = folder / "log"
        raise RuntimeError(
            f"{command[0]}: {done.stdout}{done.stderr}{log.read_text(encoding='utf-8') if log.exists() else ''}"
        )
