"""Runs rows, each in a fresh process, and keeps a record of every one, the failed ones too."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from .options import Options
from .progress import PREFIX as PROGRESS
from .records import Measured, Record, record_of
from .rows import Row

_MODULE = ["-m", "benchmarks"]
_RESULT = "measured: "


def run(
    row: Row,
    arguments: Sequence[str],
    conditions: dict[str, Any],
    on_progress: Callable[[str], object] = lambda doing: None,
) -> Record:
    """Measure ``row`` in a child; ``arguments`` are the command line's options for it.

    ``on_progress`` is called with what the child says it is doing.
    """
    command = [sys.executable, *_MODULE, "row", row.benchmark, row.name, *arguments]
    return record_of(row.benchmark, row.name, lambda: _child(command, on_progress), conditions, row.target)


def _child(command: Sequence[str], on_progress: Callable[[str], object]) -> tuple[Measured, str]:
    """Return what the child measured, or the last line of what it said."""
    said: list[str] = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8") as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(PROGRESS):
                on_progress(line.removeprefix(PROGRESS).strip())
            else:
                said.append(line)
        status = child.wait()
        errors.seek(0)
        complaints = errors.read().splitlines()
    results = [line for line in said if line.startswith(_RESULT)]
    if status == 0 and results:
        return json.loads(results[-1].removeprefix(_RESULT)), ""
    lines = [line for line in complaints + said if line.strip()]
    return {}, lines[-1].strip() if lines else f"exit status {status}"


def measure_here(row: Row, options: Options) -> None:
    """Be the child: measure and say what was found."""
    sys.stdout.write(f"{_RESULT}{json.dumps(row.measure(options))}\n")
