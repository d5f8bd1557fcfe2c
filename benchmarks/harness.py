"""Runs rows, each in a fresh process, and keeps a record of every one, the failed ones too."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from .options import Options
from .records import Measured, Record
from .rows import Row

_MODULE = ["-m", "benchmarks"]
_RESULT = "measured: "


def run(row: Row, arguments: Sequence[str], conditions: dict[str, Any]) -> Record:
    """Measure ``row`` in a child; ``arguments`` are the command line's options for it."""
    started_at, started = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
    command = [sys.executable, *_MODULE, "row", row.benchmark, row.name, *arguments]
    child = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    took_s = round(time.monotonic() - started, 1)
    measured, error = _read(child)
    return Record(
        benchmark=row.benchmark,
        row=row.name,
        started_at=started_at,
        took_s=took_s,
        measured=measured,
        target=str(row.target),
        is_met=None if error else row.target.is_met(measured),
        error=error,
        conditions=conditions,
    )


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
