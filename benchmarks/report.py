"""One report of any rows: a table for the terminal, and the same in Markdown with plots."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich.table import Table

from . import plots
from .records import Record

_VERDICTS = {True: "met", False: "missed", None: ""}


def tables(records: Sequence[Record]) -> list[Table]:
    """A table a benchmark, turned on its side: a terminal is narrow."""
    made = []
    for benchmark, group in groupby(records, key=lambda record: record.benchmark):
        rows = list(group)
        names, *values = _columns(rows), *(_cells(record, rows) for record in rows)
        table = Table(title=benchmark, title_justify="left", show_header=False, show_lines=False)
        for line in zip(names, *values, strict=True):
            table.add_row(*line, end_section=line[0] in ("row", "verdict"))
        made.append(table)
    return made


def write(folder: Path, records: Sequence[Record]) -> None:
    """Write ``report.md`` and its plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown(records, plots.draw(records, folder)), encoding="utf-8")


def markdown(records: Sequence[Record], pictures: Mapping[str, Path] | None = None) -> str:
    """The same tables and the conditions, as a page; ``pictures``: files in its folder by their titles."""
    parts = ["# Benchmarks", _conditions(records[-1])]
    parts += [f"![{title}]({path.name})" for title, path in (pictures or {}).items()]
    for benchmark, group in groupby(records, key=lambda record: record.benchmark):
        rows = list(group)
        columns = _columns(rows)
        lines = [columns, ["---"] * len(columns), *(_cells(record, rows) for record in rows)]
        parts += [f"## {benchmark}", "\n".join(map(_markdown_row, lines))]
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |"


def _columns(records: Sequence[Record]) -> list[str]:
    return ["row", "target", "verdict", *_names(records), "took"]


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record.measured))


def _cells(record: Record, records: Sequence[Record]) -> list[str]:
    values = [_shown(record.measured.get(name, "")) for name in _names(records)]
    verdict = f"failed: {record.error}" if record.error else _VERDICTS[record.is_met]
    return [record.row, record.target, verdict, *values, f"{record.took_s:g} s"]


def _shown(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _conditions(record: Record) -> str:
    flat = {**record.conditions, "started": record.started_at}
    lines = [f"- {name}: {_flat(value)}" for name, value in flat.items() if value]
    return "\n".join(lines)


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
