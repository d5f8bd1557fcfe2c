"""Running the gateway as a process."""

import signal
import sys
from ipaddress import ip_address
from typing import Any

import uvicorn
from alembic.util import CommandError
from rich.console import Console
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from insta_depth_gateway.accounts.database import DatabaseUrlError
from insta_depth_gateway.app import create_app
from insta_depth_gateway.observability import configure_logs
from insta_depth_gateway.settings import PREFIX, SettingError, Settings, read_settings

_KEEP_ALIVE_S = 75
"""Longer than proxies keep a connection (60 s), so that the proxy closes it and no request is lost."""


def serve(**given: Any) -> None:
    """Serve until a signal, then finish the requests in flight.

    ``given`` settings override the environment. Raises `SettingError` if a setting, or the database that it names,
    is unusable.
    """
    settings = read_settings(**given)
    configure_logs(settings.log_level)
    try:
        app = create_app(settings)
    except DatabaseUrlError as error:
        raise SettingError(f"{PREFIX}DATABASE_URL: {error}") from None
    except (SQLAlchemyError, CommandError, OSError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise SettingError(f"{PREFIX}DATABASE_URL: the database cannot be used: {reason}") from None
    _greet(settings)
    for each in (signal.SIGTERM, signal.SIGINT):
        # uvicorn has its own handlers while it runs; after stopping it raises the signal again.
        signal.signal(each, lambda *_: None)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.stop_timeout_s,
    )
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        raise SystemExit(1)  # the log says why


def _greet(settings: Settings) -> None:
    """Print the addresses on a terminal; elsewhere the log has them."""
    if not sys.stderr.isatty():
        return
    say, host = Console(stderr=True).print, f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"Gateway  http://{host}:{settings.port}" + ("" if _is_local(settings.host) else "  (public)"))
    say(f"Triton   {settings.triton_url}")
    say(f"Accounts {make_url(settings.database_url.get_secret_value()).render_as_string(hide_password=True)}")
    say("A key    insta-depth keys create --name me --credits 100")


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
