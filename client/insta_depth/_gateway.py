"""The command `insta-depth gateway`, and what every command does that needs the gateway's packages."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from insta_depth._commands import UsageProblem

NOT_INSTALLED = "the gateway is not installed: pip install 'insta-depth[gateway]'"


def add_gateway(commands: Any) -> None:
    """Add the command; its options precede the settings of the environment."""
    parser = commands.add_parser(
        "gateway",
        help="serve the documented HTTP API in front of Triton",
        description="Serve the documented HTTP API in front of Triton, until Ctrl-C. "
        "Settings are variables of the environment, INSTA_DEPTH_GATEWAY_…; docs/gateway.md lists them.",
        allow_abbrev=False,
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on (8080)")
    parser.add_argument("--triton-url", metavar="URL", help="Triton's gRPC address (127.0.0.1:8001)")
    parser.add_argument("--database-url", metavar="URL", help="where accounts are kept (a file of the user's)")
    parser.set_defaults(run=_run)


@contextmanager
def gateway_imports() -> Iterator[None]:
    """Inside the block, a package that is not installed is a `UsageProblem`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("insta_depth"):
            raise
        raise UsageProblem(NOT_INSTALLED) from None


def _run(arguments: argparse.Namespace, _connect: object) -> None:
    with gateway_imports():
        from insta_depth.gateway.serving import serve
        from insta_depth.gateway.settings import SettingError
    names = ("host", "port", "triton_url", "database_url")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        serve(**given)
    except SettingError as error:
        raise UsageProblem(str(error)) from None
