"""The one table, for a terminal and in Markdown."""

from collections.abc import Callable, Sequence

from rich.table import Table

from ..records import Measured, Record
from .runner import ABSENT
from .variants import LIMIT, VARIANTS

_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "ms": ("step_ms", lambda value: f"{value:.1f}"),
    "÷ eager": ("eager_ratio", lambda value: f"{value:.2f}"),
    "TFLOP/s": ("tflops", lambda value: f"{value:.3g}"),
    "of the chip": ("chip_share", lambda value: f"{value:.0%}"),
    "of a matmul": ("matmul_share", lambda value: f"{value:.0%}"),
    "peak GiB": ("peak_gib", lambda value: f"{value:.2f}"),
    "Triton ms": ("triton_ms", lambda value: f"{value:+.2f}"),
    "difference": ("difference", lambda value: f"{value:.1e}"),
}
NOTES = """\
÷ eager: time over PyTorch eager's, the VAE's and the depth estimator's over their fp32's. of the chip: achieved \
TFLOP/s over the data sheet's dense fp16 peak (TF32's is half of it); of a matmul: over what one large matrix \
product reached in this run. peak: memory above that of an idle process, CUDA contexts of Triton's stubs included. \
Triton ms: a step of the denoising loop through Triton less the same engines in one process, where the two \
ControlNets run one after the other; engines that answer at once show what the loop and Triton take by themselves. \
A picture: depth estimator, steps and VAE's decoder in one process, without what reads the prompt and the face. \
difference: largest, to float32 from the same weights, as a share of the largest value."""


def rows(records: Sequence[Record]) -> list[list[str]]:
    """The cells, the heading first."""
    variants = [record for record in records if record.row != LIMIT]
    return [["row", *_COLUMNS], *([_label(record), *_cells(record.measured)] for record in variants)]


def _label(record: Record) -> str:
    state = "" if not record.error else " (not here)" if record.error.startswith(ABSENT) else " (failed)"
    return _title(record.row) + state


def _title(row: str) -> str:
    return VARIANTS[row].title if row in VARIANTS else row


def why_missing(records: Sequence[Record]) -> list[str]:
    """A line for each row that failed or whose parts are absent."""
    return [f"{_title(record.row)}: {record.error}" for record in records if record.error]


def _cells(measured: Measured) -> list[str]:
    return [shown(float(measured[name])) if name in measured else "" for name, shown in _COLUMNS.values()]


def terminal(records: Sequence[Record], title: str) -> Table:
    """The table for a terminal."""
    heading, *lines = rows(records)
    table = Table(title=title, title_justify="left", caption=NOTES, caption_justify="left")
    table.add_column(heading[0], overflow="fold")
    for name in heading[1:]:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*line)
    return table


def markdown(records: Sequence[Record], title: str) -> str:
    """The table as a page."""
    heading, *lines = rows(records)
    told = [heading, ["---", *(["---:"] * len(_COLUMNS))], *lines]
    why = [part for line in why_missing(records) for part in (line, "")]
    return "\n".join([title, "", *(f"| {' | '.join(line)} |" for line in told), "", *why, NOTES, ""])
