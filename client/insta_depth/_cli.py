"""The `insta-depth` command: its options, its exit codes and its one-line errors."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

from insta_depth._client import DEFAULT_TIMEOUT_S, DEFAULT_URL, InstaDepth
from insta_depth._commands import Connect, UsageProblem, generate, status
from insta_depth._errors import (
    Cancelled,
    DeadlineExceeded,
    InstaDepthError,
    InvalidInput,
    Overloaded,
    ServerUnavailable,
)
from insta_depth._request import GenerationRequest
from insta_depth._version import __version__

COMMANDS_GROUP = "insta_depth.commands"
"""The entry points of this group are functions that add commands to the parser."""
GATEWAY_COMMANDS = ("gateway", "keys")
"""The commands that the gateway's package adds."""
_NOT_INSTALLED = "pip install insta-depth-gateway"

INTERRUPTED = 130
USAGE = 2

_EXIT_CODES: dict[type[InstaDepthError], int] = {
    InvalidInput: 3,
    Overloaded: 4,
    ServerUnavailable: 4,
    Cancelled: 5,
    DeadlineExceeded: 5,
    InstaDepthError: 1,
}

_EXIT_CODES_HELP = """\
exit codes: 0 done · 2 wrong usage or output path · 3 invalid input or no face · 4 server unavailable or full
            5 timed out or cancelled · 130 interrupted · 1 anything else"""

_PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "face_image": ("--face", {"metavar": "FILE", "nargs": "+", "action": "extend"}),
    "pose_image": ("--pose", {"metavar": "FILE"}),
}
_VALUES: dict[str, dict[str, Any]] = {
    "BYTES": {"type": lambda argument: os.fsencode(argument).decode(), "metavar": "TEXT"},
    "INT32": {"type": int, "metavar": "N"},
    "INT64": {"type": int, "metavar": "N"},
    "FP32": {"type": float, "metavar": "X"},
    "BOOL": {"action": argparse.BooleanOptionalAction},
}


class _Parser(argparse.ArgumentParser):
    """Reports usage errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"insta-depth: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None, connect: Connect = InstaDepth) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may know ASCII only
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments, connect)
    except UsageProblem as problem:
        _complain(str(problem))
        return USAGE
    except InstaDepthError as error:
        _complain(error.message)
        return next(_EXIT_CODES[kind] for kind in type(error).__mro__ if kind in _EXIT_CODES)
    except OSError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    return 0


def _complain(message: str) -> None:
    sys.stderr.write(f"insta-depth: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="insta-depth", description="Insta Depth on Triton, from the command line.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"insta-depth {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_generate(commands)
    _add_status(commands)
    _add_installed(commands)
    return parser


def _add_installed(commands: Any) -> None:
    """Add the commands of other packages: the gateway's, or what to install for them."""
    installed = {each.name: each for each in entry_points(group=COMMANDS_GROUP)}
    for entry_point in installed.values():
        entry_point.load()(commands)
    for name in sorted(set(GATEWAY_COMMANDS) - installed.keys()):
        about = f"not installed: {_NOT_INSTALLED}"
        parser = commands.add_parser(name, help=about, add_help=False, prefix_chars="\0")  # takes any option
        parser.add_argument("arguments", nargs="*")
        parser.set_defaults(run=_not_installed)


def _not_installed(_arguments: argparse.Namespace, _connect: Connect) -> NoReturn:
    raise UsageProblem(f"the gateway is not installed: {_NOT_INSTALLED}")


def _add_generate(commands: Any) -> None:
    parser = commands.add_parser(
        "generate",
        help="make a picture",
        description="Make a picture of the face's person in the pose, as the prompt says. "
        "The server's defaults apply to what is left out.",
        epilog=_EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for attribute in fields(GenerationRequest):
        _add_attribute(parser, attribute)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write it")
    parser.add_argument("--preview-dir", type=Path, metavar="DIR", help="write a preview of every step there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    _add_connection(parser)
    parser.set_defaults(run=generate)


def _add_attribute(parser: argparse.ArgumentParser, attribute: Field[Any]) -> None:
    """Add the option of one field of the request; ``preview`` has none: --preview-dir asks for it."""
    name, required = attribute.name, attribute.default is MISSING
    if name in _PICTURES:
        option, value = _PICTURES[name]
    else:
        option, value = f"--{name.replace('_', '-')}", _VALUES[attribute.metadata["datatype"]]
    if name != "preview":
        parser.add_argument(option, dest=name, required=required, help=attribute.metadata["about"], **value)


def _add_status(commands: Any) -> None:
    parser = commands.add_parser(
        "status", help="ask a server whether it is ready", description="Ask a server whether it is ready."
    )
    _add_connection(parser)
    parser.set_defaults(run=status)


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default=DEFAULT_URL, help="Triton's gRPC address (default: %(default)s)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="give up after that long (default: %(default)s)",
    )
