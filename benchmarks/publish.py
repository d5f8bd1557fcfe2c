"""What `make bench` measured, written into the documents: records, report, plots, and the rows of their tables.

A row of a table is found by its first cell, so that no figure is copied by hand.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import records, report
from .records import Record
from .rows import ROWS

FOLDER = "benchmarks"
"""In docs/."""
_RECORDS = "records.jsonl"

Measured = Mapping[str, Any]
Found = Callable[[str], Sequence[Measured]]
"""A benchmark's name → what its rows measured, in the order of the rows."""


@dataclass(frozen=True)
class Line:
    """A row of a table in the documents."""

    what: str
    figure: Callable[[Found], str]
    benchmark: str

    def text(self, found: Found) -> str:
        """Return the row in Markdown."""
        return f"| {self.what} | {self.figure(found)} | `python -m benchmarks {self.benchmark}` |"


def _rows_share(found: Found) -> str:
    return f"{min(each['rows_share'] for each in found('batching')):.2f} (target ≥ 0.85)"


def _waits(found: Found) -> str:
    short, long = found("load")
    return (
        f"{long['mean_ratio']:.2f} with steps of 200 ms (p95 × {long['p95_ratio']:.2f}), "
        f"{short['mean_ratio']:.2f} with the miniature's shorter ones (p95 × {short['p95_ratio']:.2f}) "
        "(target ≤ 0.65)"
    )


def _against_plain(found: Found) -> str:
    shown = (f"{each['mean_ratio']:.2f} at {100 * each['load']:.0f} %" for each in found("plain-server"))
    goodput = found("plain-server")[1]
    ratio = goodput["service_goodput_per_s"] / max(goodput["plain_goodput_per_s"], 1e-9)
    return f"{', '.join(shown)} (target ≤ 0.7); pictures in time at 80 % × {ratio:.1f}"


def _loop(found: Found) -> str:
    (each,) = found("overhead")
    return (
        f"{each['loop_ratio']:.2f}, single pairs {each['lowest_ratio']:.2f}–{each['highest_ratio']:.2f}, "
        f"step {each['step_through_triton_ms']:.0f} ms (target ≤ 1.10)"
    )


def _whole_request(found: Found) -> str:
    names = ("miniature", "steps of a second")
    return "; ".join(
        f"{name}: {each['service_to_eager']:.2f}, `torch.compile`d {each.get('compiled_to_eager', float('nan')):.2f}, "
        f"÷ the same engines in one process {each['service_to_engines']:.2f}"
        for name, each in zip(names, found("side-by-side"), strict=True)
    )


def _rate(found: Found) -> str:
    return ", ".join(f"{each['service_share_of_matmul']:.0%}".replace("%", " %") for each in found("side-by-side"))


def _alone(found: Found) -> str:
    (each,) = found("latency")
    return f"p95 × {each['p95_s'] / each['p50_s']:.2f}, p99 × {each['p99_s'] / each['p50_s']:.2f}"


def _start(found: Found) -> str:
    (each,) = found("start")
    return (
        f"{each['service_ready_s'] + each['service_first_picture_s']:.0f} s, × {each['first_picture_ratio']:.1f}; "
        f"{each['service_memory_mib'] / 1024:.1f} GiB, × {each['memory_ratio']:.1f}"
    )


def _concurrency(found: Found) -> str:
    (each,) = found("concurrency")
    return f"{each['most_to_one']:.2f}"


def _gateway(found: Found) -> str:
    files, json, files_at_once, json_at_once, _ = (each["added_median_ms"] for each in found("gateway"))
    return (
        f"{files:.1f} ms with files, {json:.1f} ms with JSON beside base64; {files_at_once:.1f} and "
        f"{json_at_once:.1f} ms before a server that answers at once (target ≤ 5)"
    )


def _signing(found: Found) -> str:
    *_, files_at_once, _, signed = (each["added_median_ms"] for each in found("gateway"))
    return f"{signed - files_at_once:.1f} ms"


LINES = (
    Line(
        "mean rows a call ÷ rows in flight, eight requests 50 ms apart, a step that costs the same for any rows",
        _rows_share,
        "batching",
    ),
    Line(
        "mean latency at 80 % of capacity, Poisson arrivals, 4–50 steps, ÷ that where all share every step",
        _waits,
        "load",
    ),
    Line(
        "mean latency ÷ a plain server's (PyTorch eager behind FastAPI, one at a time), same arrivals, by load",
        _against_plain,
        "plain-server",
    ),
    Line(
        "one whole request through Triton ÷ PyTorch eager in one process, same weights and requests in turns",
        _whole_request,
        "side-by-side",
    ),
    Line("there: arithmetic a second, of the rate of a large matrix product in the same run", _rate, "side-by-side"),
    Line("the loop through Triton ÷ the same engines in one process, one request, steps ≥ 200 ms", _loop, "overhead"),
    Line("100 requests one after the other: slow ones ÷ the median", _alone, "latency"),
    Line("from starting to the first picture; memory then; each × the plain server's", _start, "start"),
    Line("pictures a second of eight callers ÷ of one", _concurrency, "concurrency"),
    Line("what the gateway adds to an answer, over the client's direct one, at the median", _gateway, "gateway"),
    Line("what signing a picture (C2PA) adds to that, of about 400 kB", _signing, "gateway"),
)


def publish(source: Path, docs: Path, readme: Path) -> list[str]:
    """Write the last record of every row into ``docs``, and the figures into the tables of its pages and ``readme``.

    Return what was not measured: its figures stay as they are.
    """
    latest = last_of_each(list(records.load(source)))
    folder = docs / FOLDER
    report.write(folder, latest)
    (folder / _RECORDS).unlink(missing_ok=True)
    for record in latest:
        records.append(folder / _RECORDS, record)
    for page in (docs / "measured.md", readme):
        page.write_text(with_figures(page.read_text(encoding="utf-8"), latest), encoding="utf-8")
    measured = {(record.benchmark, record.row) for record in latest}
    return [f"{row.benchmark}: {row.name}" for row in ROWS if (row.benchmark, row.name) not in measured]


def last_of_each(found: Sequence[Record]) -> list[Record]:
    """Return the last record of every row that has one which did not fail, in the order of the rows."""
    last = {(record.benchmark, record.row): record for record in found if not record.error}
    return [last[row.benchmark, row.name] for row in ROWS if (row.benchmark, row.name) in last]


def with_figures(page: str, latest: Sequence[Record]) -> str:
    """Return the page with every row that it has of `LINES` as measured, where all rows of its benchmark were."""

    def found(benchmark: str) -> list[Measured]:
        return [record.measured for record in latest if record.benchmark == benchmark]

    for line in LINES:
        if len(found(line.benchmark)) == sum(row.benchmark == line.benchmark for row in ROWS):
            text = line.text(found).replace("\\", r"\\")
            page = re.sub(rf"^\| {re.escape(line.what)} \|.*$", text, page, flags=re.MULTILINE)
    return page
