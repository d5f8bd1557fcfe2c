"""The command line, one file per command."""

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

Commands = Any
"""The return type of ``ArgumentParser.add_subparsers``."""
Run = Callable[[argparse.Namespace, Console], int]
"""Takes the parsed options; returns the exit status. Each command sets its own as the default of ``run``."""


def engine_names(text: str) -> frozenset[str]:
    """Read the value of ``--only``."""
    return frozenset(text.split(","))
