"""The command `insta-depth gateway`."""

import argparse
from typing import Any

from insta_depth._commands import UsageProblem


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


def _run(arguments: argparse.Namespace, _connect: object) -> None:
    # Imported late: `insta-depth generate` registers this command too, and must not load a web server.
    from insta_depth_gateway.serving import serve
    from insta_depth_gateway.settings import SettingError

    names = ("host", "port", "triton_url", "database_url")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        serve(**given)
    except SettingError as error:
        raise UsageProblem(str(error)) from None
