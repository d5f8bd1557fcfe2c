"""Figures with their origin: nothing enters the calculation without saying where it comes from."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from . import records
from .capacity_model import CapacityError

BASES = ("measured", "stated", "estimated")


@dataclass(frozen=True)
class Figure:
    """A number, and whether it was measured, stated by someone, or estimated."""

    value: float
    basis: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.value:g} ({self.basis}{', ' if self.source else ''}{self.source})"


def figure(text: str) -> Figure:
    """Read ``VALUE[:BASIS[:SOURCE]]``, such as ``60:measured:our H100``; a bare value is stated."""
    number, _, rest = text.partition(":")
    basis, _, source = rest.partition(":")
    basis = basis or "stated"
    if basis not in BASES:
        raise argparse.ArgumentTypeError(f"{text}: after the colon one of {', '.join(BASES)} is expected")
    try:
        value = float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: {number!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text}: the number has to be above 0")
    return Figure(value, basis, source)


def share(text: str) -> Figure:
    """Read a figure of at most 1."""
    read = figure(text)
    if read.value > 1:
        raise argparse.ArgumentTypeError(f"{text}: a share is at most 1")
    return read


def whole(text: str) -> int:
    """Read a count of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a whole number of at least 1 is expected")
    return int(text)


def step_of(path: Path) -> Figure:
    """The fastest full-size step through Triton among gpu-check's records, the newest of each row."""
    if not path.is_file():
        raise CapacityError(f"{path}: there is no such file; `make gpu-check` writes build/gpu-check/records.jsonl")
    newest = {
        (str(record.conditions["step"]), record.row): record
        for record in records.load(path)
        if record.benchmark == "gpu-check"
        and record.row.startswith("triton-")
        and "step_ms" in record.measured
        and record.conditions["step"]["networks"] == "full"
    }
    if not newest:
        raise CapacityError(f"{path}: holds no full-size step through Triton")
    best = min(newest.values(), key=lambda record: float(record.measured["step_ms"]))
    device, day = best.conditions["step"]["device"], best.started_at[:10]
    return Figure(round(float(best.measured["step_ms"]), 2), "measured", f"gpu-check, {best.row} on {device}, {day}")
