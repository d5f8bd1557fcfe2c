"""The `insta-depth keys` commands: create, list, top up and revoke the gateway's keys."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from insta_depth._errors import InvalidInput, ServerUnavailable
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from insta_depth_gateway.accounts import Ledger
    from insta_depth_gateway.accounts.ledger import AccountSummary

DATABASE_URL_VARIABLE = "INSTA_DEPTH_GATEWAY_DATABASE_URL"

_SHOWN_OF_UNKNOWN = 12
"""How much of an unknown key is shown: a secret given by mistake must not end up in a log."""
_UNLIMITED_WIDTH = 1000
_DAY_LENGTH = len("2026-01-31")


def add_keys(commands: Any) -> None:
    """Add `keys` and its subcommands."""
    about = "make, list, fill and revoke the gateway's keys"
    keys = commands.add_parser("keys", help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
    actions = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = _add(actions, "create", _create, "make a key and print its secret, which is shown this once")
    create.add_argument("--name", required=True, help="what to call it; one of a kind")
    create.add_argument("--credits", default="0", metavar="N", help="what it starts with (default: %(default)s)")
    create.add_argument("--rate-limit", metavar="N", help="requests a minute, 0: any number (default: the gateway's)")
    create.add_argument("-q", "--quiet", action="store_true", help="print the secret and nothing else")
    listing = _add(actions, "list", _list, "show every key's balance")
    listing.add_argument("--json", action="store_true", help="as JSON; amounts are exact, in quotes")
    add_credits = _add(actions, "add-credits", _add_credits, "add credits to a key")
    add_credits.add_argument("key", metavar="KEY", help="its name or prefix")
    add_credits.add_argument("amount", metavar="AMOUNT", help="credits, to the thousandth")
    revoke = _add(actions, "revoke", _revoke, "let a key call no more")
    revoke.add_argument("key", metavar="KEY", help="its name or prefix")


def _add(actions: Any, name: str, run: Any, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=about, description=f"{about.capitalize()}.", allow_abbrev=False
    )
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="sqlite:///path or postgresql://user:password@host/name "
        f"(default: {DATABASE_URL_VARIABLE}, or a file in your data folder)",
    )
    parser.set_defaults(run=run)
    return parser


def _create(arguments: argparse.Namespace, _connect: object) -> None:
    credits, rate_limit = _amount(arguments.credits), _rate_limit(arguments.rate_limit)
    with _ledger(arguments) as ledger:
        _, secret = ledger.create_key(arguments.name, credits, rate_limit)
    sys.stdout.write(f"{secret}\n")
    if not arguments.quiet:
        sys.stderr.write("insta-depth: keep this secret: it is shown this once\n")


def _list(arguments: argparse.Namespace, _connect: object) -> None:
    with _ledger(arguments) as ledger:
        ledger.return_expired()
        summaries = ledger.summaries()
    if arguments.json:
        sys.stdout.write(json.dumps([_as_json(each) for each in summaries], indent=2) + "\n")
    else:
        _print_table(summaries)


def _add_credits(arguments: argparse.Namespace, _connect: object) -> None:
    amount = _amount(arguments.amount)
    with _ledger(arguments) as ledger:
        balance = ledger.add_credits(arguments.key, amount)
    sys.stdout.write(f"{arguments.key}: {balance} credits\n")


def _revoke(arguments: argparse.Namespace, _connect: object) -> None:
    with _ledger(arguments) as ledger:
        ledger.revoke(arguments.key)
    sys.stdout.write(f"{arguments.key}: revoked\n")


@contextmanager
def _ledger(arguments: argparse.Namespace) -> Iterator["Ledger"]:
    """Yield the ledger of an up-to-date database; its errors become the command line's."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from insta_depth_gateway.accounts import KeyNotFound, KeyRefused, Ledger, connect, migrate
    from insta_depth_gateway.accounts.database import DatabaseUrlError, default_database_url

    url = arguments.database_url or os.environ.get(DATABASE_URL_VARIABLE) or default_database_url()
    try:
        engine = connect(url)
    except DatabaseUrlError as error:
        raise InvalidInput(f"database_url: {error}") from None
    except OSError as error:
        raise ServerUnavailable(f"the database's folder cannot be made: {error}") from None
    try:
        migrate(engine)
        yield Ledger(engine)
    except KeyRefused as error:
        raise InvalidInput(str(error)) from None
    except KeyNotFound as error:
        raise InvalidInput(f"key: no key has the name or prefix {_cut(error.args[0])}") from None
    except (SQLAlchemyError, CommandError) as error:
        # Omit the parameters, and the URL's query, which may contain a password.
        where = engine.url.set(query={}).render_as_string()
        raise ServerUnavailable(f"the database {where} cannot be used: {_reason(error)}") from None
    finally:
        engine.dispose()


def _reason(error: Exception) -> str:
    """Return the driver's message in one line."""
    words = str(getattr(error, "orig", None) or error)
    return " ".join(words.split())


def _cut(key: str) -> str:
    return repr(key) if len(key) <= _SHOWN_OF_UNKNOWN else f"{key[:_SHOWN_OF_UNKNOWN]!r}…"


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidInput(f"credits: {text!r} is not a number such as 100 or 0.5") from None


def _rate_limit(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise InvalidInput(f"rate_limit: {text!r} is not a whole number such as 60") from None


def _as_json(summary: "AccountSummary") -> dict[str, Any]:
    values = {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(summary).items()}
    return values | {"created_at": _date(summary.created_at), "revoked_at": _date(summary.revoked_at)}


def _print_table(summaries: "list[AccountSummary]") -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("name", "prefix"):
        table.add_column(title)
    for title in ("deposited", "balance", "held", "spent", "requests", "limit a minute"):
        table.add_column(title, justify="right")
    for title in ("created", "revoked"):
        table.add_column(title)
    for summary in summaries:
        table.add_row(*(Text(cell) for cell in _cells(summary)))
    # Full width: truncated figures would be wrong.
    Console(width=_UNLIMITED_WIDTH).print(table)


def _cells(summary: "AccountSummary") -> list[str]:
    amounts = [summary.deposited, summary.balance, summary.held, summary.spent, summary.requests]
    limit = summary.rate_limit_per_minute
    return [
        summary.name,
        summary.prefix,
        *(str(amount) for amount in amounts),
        "the gateway's" if limit is None else str(limit),
        *((_date(moment) or "")[:_DAY_LENGTH] for moment in (summary.created_at, summary.revoked_at)),
    ]


def _date(seconds: int | None) -> str | None:
    """Return the moment in UTC: 2026-01-31T12:00:00Z."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
