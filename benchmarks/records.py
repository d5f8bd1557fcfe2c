"""The one format in which every measurement is kept: a JSON object a line."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

Measured = dict[str, float | int | str]
"""What a row found, by name with its unit at the end; a name without one is a ratio or a count."""


@dataclass(frozen=True)
class Target:
    """What one of the measured values has to be."""

    name: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, measured: Mapping[str, Any]) -> bool:
        """Whether ``measured`` lies within the limits."""
        value = float(measured[self.name])
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        limits = {"≥": self.at_least, "≤": self.at_most}
        return f"{self.name} " + " and ".join(
            f"{sign} {limit:g}" for sign, limit in limits.items() if limit is not None
        )


@dataclass(frozen=True)
class Record:
    """One row of one run. ``is_met`` is None where there is no target, or the row failed with ``error``."""

    benchmark: str
    row: str
    started_at: str
    took_s: float
    measured: Measured
    target: str
    is_met: bool | None
    error: str
    conditions: dict[str, Any]


def record_of(
    benchmark: str,
    row: str,
    measure: Callable[[], tuple[Measured, str]],
    conditions: Mapping[str, Any],
    target: Target | None = None,
) -> Record:
    """Return the record of a row that ``measure`` measures; it returns what was found, and in one line why not."""
    started_at, started = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
    measured, error = measure()
    return Record(
        benchmark=benchmark,
        row=row,
        started_at=started_at,
        took_s=round(time.monotonic() - started, 1),
        measured=measured,
        target=str(target or ""),
        is_met=target.is_met(measured) if target and not error else None,
        error=error,
        conditions=dict(conditions),
    )


def append(path: Path, record: Record) -> None:
    """Add ``record`` to the file of all runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")


def load(path: Path) -> Iterable[Record]:
    """Yield the records of a file, oldest first."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield Record(**json.loads(line))
