"""``python -m export COMMAND``: from published weights to what Triton serves."""

import argparse
import sys

from rich.console import Console

from .command_line import run_command
from .commands import fetch, onnx, tensorrt, verify

_COMMANDS = (fetch, onnx, tensorrt, verify)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    return run_command("export", lambda: options.run(options, Console()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know ASCII only
    sys.exit(main())
