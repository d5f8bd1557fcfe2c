"""A throw-away PostgreSQL server from the installed Debian package."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

from tests.gateway.live import free_port

_USER = "postgres"


def find_programs() -> Path | None:
    """Return the folder with initdb and pg_ctl, the newest version's, or None where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


def _version(folder: Path) -> float:
    return float(folder.parent.name)


@contextmanager
def running_server(programs: Path) -> Iterator[str]:
    """Yield the URL of a fresh server on 127.0.0.1, gone afterwards."""
    # Not in pytest's folders: those let nobody but their owner in, and the server may not run as root.
    folder = Path(tempfile.mkdtemp(prefix="insta-depth-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)
    data, port = folder / "data", free_port()
    try:
        _call(folder, programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        (data / "postgresql.auto.conf").write_text(_settings(folder, port))
        _call(folder, programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-t", "60", "start")
        try:
            yield f"postgresql://{_USER}@127.0.0.1:{port}/postgres"
        finally:
            _call(folder, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
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
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **as_user)
    if done.returncode != 0:
        log = folder / "log"
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}{log.read_text() if log.exists() else ''}")
