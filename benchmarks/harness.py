"""Runs rows, each in a fresh process, and keeps a record of every one, the failed ones too."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from .options import Options
from .records import Measured, Record, record_of
from .rows import Row

_MODULE = ["-m", "benchmarks"]
_RESULT = "measured: "


def run(row: Row, arguments: Sequence[str], conditions: dict[str, Any]) -> Record:
    """Measure ``row`` in a child; ``arguments`` are the command line's options for it."""
    command = [sys.executable, *_MODULE, "row", row.benchmark, row.name, *arguments]

    def measure() -> tuple[Measured, str]:
        return _read(subprocess.run(command, capture_output=True, text=True, encoding="utf-8"))

    return record_of(row.benchmark, row.name, measure, conditions, row.target)


def _read(child: subprocess.CompletedProcess[str]) -> tuple[Measured, str]:
    """What the child measured, or the last line of what it said."""
    results = [line for line in child.stdout.splitlines() if line.startswith(_RESULT)]
    if child.returncode == 0 and results:
        return json.loads(results[-1].removeprefix(_RESULT)), ""
    said = [line for line in (child.stderr + child.stdout).splitlines() if line.strip()]
    return {}, said[-1].strip() if said else f"exit status {child.returncode}"


def measure_here(row: Row, options: Options) -> None:
    """Be the child: measure and say what was found."""
    sys.stdout.write(f"{_RESULT}{json.dumps(row.measure(options))}\n")
