import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from insta_depth_gateway.accounts import connect, migrate
from insta_depth_gateway.accounts.database import migration_config
from insta_depth_gateway.accounts.schema import Base
from sqlalchemy import Engine, inspect

MIGRATE_WHEN_TOLD = """
import sys
from insta_depth_gateway.accounts import connect, migrate
engine = connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
migrate(engine)
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


def test_migrations_make_the_tables_of_the_schema(engine: Engine) -> None:
    migrate(engine)
    assert differences(engine) == []
    assert constraints(engine) == declared_constraints()


def test_migrating_twice_is_harmless(engine: Engine) -> None:
    migrate(engine)
    migrate(engine)
    assert differences(engine) == []


@pytest.mark.parametrize("attempt", range(3))
def test_processes_that_migrate_at_once_all_succeed(engine: Engine, database_url: str, attempt: int) -> None:
    processes = [started(database_url) for _ in range(4)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert differences(engine) == []


def test_a_new_sqlite_file_that_another_writes_to_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "accounts.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    engine = connect(f"sqlite:///{tmp_path / 'accounts.db'}")
    with ThreadPoolExecutor(1) as threads:
        migrating = threads.submit(migrate, engine)
        assert wait([migrating], timeout=0.3).not_done
        other.execute("COMMIT")
        migrating.result(10)
    assert differences(engine) == []


def test_a_downgrade_leaves_nothing_behind(engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        command.downgrade(migration_config(connection), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(engine)
    assert differences(engine) == []


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata)


def constraints(engine: Engine) -> set[str | None]:
    """Return the names of the database's constraints, which comparing the metadata leaves out for primary keys."""
    database, names = inspect(engine), set[str | None]()
    for table in Base.metadata.tables:
        names.add(database.get_pk_constraint(table)["name"])
        names.update(each["name"] for each in database.get_foreign_keys(table))
        names.update(each["name"] for each in database.get_unique_constraints(table))
    return names


def declared_constraints() -> set[str | None]:
    return {str(each.name) for table in Base.metadata.tables.values() for each in table.constraints}


def started(database_url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MIGRATE_WHEN_TOLD, database_url],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
