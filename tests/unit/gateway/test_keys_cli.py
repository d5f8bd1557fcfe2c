import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from insta_depth._cli import main
from insta_depth_gateway.accounts import Account, Ledger, connect

UNREACHABLE = "postgresql://me:pass-word@127.0.0.1:{port}/accounts?sslpassword=pass-word"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database that is not there yet, in the environment."""
    url = f"sqlite:///{tmp_path / 'folder' / 'accounts.db'}"
    monkeypatch.setenv("INSTA_DEPTH_GATEWAY_DATABASE_URL", url)
    return url


@pytest.fixture
def keys(url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command and returns exit code, standard output and standard error without the program's name."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["keys", *arguments])
        output = capsys.readouterr()
        return code, output.out, output.err.removeprefix("insta-depth: ").rstrip("\n")

    return run


def test_a_new_key_works(keys: Run, url: str) -> None:
    code, output, note = keys("create", "--name", "me", "--credits", "100.5", "--rate-limit", "30")
    ledger = Ledger(connect(url))
    account = ledger.find(output.rstrip("\n"))
    assert code == 0
    assert account
    assert (account.name, str(ledger.balance(account)), account.rate_limit_per_minute) == ("me", "100.5", 30)
    assert note == "keep this secret: it is shown this once"


def test_quiet_prints_the_secret_only(keys: Run) -> None:
    code, output, note = keys("create", "--name", "me", "-q")
    assert (code, note) == (0, "")
    assert output.startswith("idk_")
    assert output.count("\n") == 1


def test_credits_are_added_by_name_or_prefix(keys: Run) -> None:
    _, secret, _ = keys("create", "--name", "me", "--credits", "1", "-q")
    assert keys("add-credits", "me", "0.001") == (0, "me: 1.001 credits\n", "")
    assert keys("add-credits", secret[:12], "2") == (0, f"{secret[:12]}: 3.001 credits\n", "")


def test_a_revoked_key_calls_no_more(keys: Run, url: str) -> None:
    _, secret, _ = keys("create", "--name", "me", "-q")
    assert keys("revoke", "me") == (0, "me: revoked\n", "")
    assert Ledger(connect(url)).find(secret.strip()) is None


def test_the_list_shows_every_keys_books(keys: Run, url: str) -> None:
    name = "[bold]a name of more than eighty letters[/bold] " + "that would not fit in a terminal"
    keys("create", "--name", name, "--credits", "100", "--rate-limit", "5")
    use(url)
    code, output, _ = keys("list")
    title, _, row = (line.rstrip() for line in output.strip("\n").split("\n"))
    titles = "name prefix deposited balance held spent requests limit a minute created revoked"
    assert code == 0
    assert title.split() == titles.split()
    assert row.startswith(name)
    assert row.removeprefix(name).split()[1:-1] == ["100", "97", "2", "1", "1", "5"]


def test_the_list_as_json_has_exact_amounts_and_times(keys: Run, url: str) -> None:
    keys("create", "--name", "me", "--credits", "0.3")
    keys("create", "--name", "gone")
    keys("revoke", "gone")
    code, output, _ = keys("list", "--json")
    me, gone = json.loads(output)
    created, revoked = me.pop("created_at"), gone["revoked_at"]
    assert code == 0
    assert me.pop("prefix").startswith("idk_")
    assert me == {
        "name": "me",
        "deposited": "0.3",
        "balance": "0.3",
        "held": "0",
        "spent": "0",
        "requests": 0,
        "rate_limit_per_minute": None,
        "revoked_at": None,
    }
    assert created[:2] == revoked[:2] == "20"
    assert created[-1] == revoked[-1] == "Z"


def test_before_listing_what_has_expired_is_returned(keys: Run, url: str) -> None:
    keys("create", "--name", "me", "--credits", "100")
    use(url, clock=lambda: time.time() - 3600)
    (me,) = json.loads(keys("list", "--json")[1])
    assert (me["balance"], me["held"], me["spent"]) == ("99", "0", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("create --name me", "name: 'me' is taken"),
        ("create --name you --credits -1", "credits: -1 is not between 0 and 1000000000000"),
        ("create --name you --credits 0.0001", "credits: 0.0001 is finer than a thousandth"),
        ("create --name you --credits many", "credits: 'many' is not a number such as 100 or 0.5"),
        (
            "create --name you --rate-limit -1",
            "rate_limit: -1 is not between 0 (no limit) and 1000000 requests a minute",
        ),
        ("create --name you --rate-limit 1.5", "rate_limit: '1.5' is not a whole number such as 60"),
        ("add-credits me -5", "credits: -5 is not between 0 and 1000000000000"),
        ("add-credits me 0", "credits: 0 is not above 0"),
        ("add-credits you 5", "key: no key has the name or prefix 'you'"),
        ("revoke idk_0123456789abcdef", "key: no key has the name or prefix 'idk_01234567'…"),
        ("list --database-url mysql://me:pass-word@h/a", "database_url: mysql is neither sqlite nor postgresql"),
        ("list --database-url pass-word", "database_url: is not a database URL such as sqlite:///accounts.db"),
        ("list --database-url sqlite://", "database_url: an SQLite database needs a file"),
        ("list --database-url postgresql://me:pass-word@h:x/a", "database_url: is not a database URL"),
        (
            "list --database-url postgresql://me:p@ss-word@h/a",
            "database_url: has an @ in its password: write it as %40",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_field_value_and_limit(keys: Run, arguments: str, message: str) -> None:
    keys("create", "--name", "me")
    code, output, errors = keys(*arguments.split())
    assert (code, output) == (3, "")
    assert errors.startswith(message)
    assert "\n" not in errors
    assert "-word" not in errors


def test_a_database_that_cannot_be_reached_is_one_line_without_passwords(keys: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, output, errors = keys("list", "--database-url", UNREACHABLE.format(port=port))
    assert (code, output) == (4, "")
    assert errors.startswith(f"the database postgresql+psycopg://me:***@127.0.0.1:{port}/accounts cannot be used: ")
    assert "refused" in errors
    assert "\n" not in errors
    assert "pass-word" not in errors


def test_a_file_that_is_no_database_is_said(keys: Run, tmp_path: Path) -> None:
    (tmp_path / "picture.db").write_bytes(b"a picture" * 1000)
    code, _, errors = keys("list", "--database-url", f"sqlite:///{tmp_path / 'picture.db'}")
    assert code == 4
    assert errors.endswith("picture.db cannot be used: file is not a database")


def test_a_folder_that_cannot_be_made_is_said(keys: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, errors = keys("list", "--database-url", f"sqlite:///{tmp_path / 'file' / 'folder' / 'accounts.db'}")
    assert code == 4
    assert errors.startswith("the database's folder cannot be made: ")


def test_a_database_of_a_newer_version_is_said(keys: Run, url: str) -> None:
    keys("list")
    with connect(url).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    code, _, errors = keys("list")
    assert code == 4
    assert "9999" in errors
    assert "\n" not in errors


def test_without_a_url_accounts_are_in_the_users_data_folder(
    keys: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTA_DEPTH_GATEWAY_DATABASE_URL", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    keys("create", "--name", "me")
    assert (tmp_path / "data" / "insta-depth" / "accounts.db").exists()


def test_without_postgresqls_driver_it_says_what_to_install(url: str) -> None:
    done = without("psycopg", ["keys", "list", "--database-url", "postgresql://me:pass-word@h/a"])
    assert done.returncode == 3
    message = "database_url: PostgreSQL needs its driver: pip install 'insta-depth-gateway[postgresql]'"
    assert done.stderr == f"insta-depth: {message}\n"


def use(url: str, clock: Callable[[], float] = time.time) -> None:
    """Spend a credit of the only key and hold two."""
    ledger, account = Ledger(connect(url), clock=clock), Account(1, "me")
    ledger.reserve(account, Decimal(1), "spent")
    ledger.reserve(account, Decimal(2), "held")
    ledger.spend("spent")


def without(package: str, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run the command in a Python that lacks a package."""
    program = f"import sys; sys.modules[{package!r}] = None; from insta_depth._cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
