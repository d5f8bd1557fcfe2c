"""Plots of the records, as PNG files beside the report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .records import Record

_INCHES, _DPI = (8.0, 4.0), 110
_SIDES = {
    "eager": "PyTorch eager",
    "compiled": "torch.compile",
    "engines": "engines, one process",
    "service": "service",
}


def draw(records: Sequence[Record], folder: Path) -> dict[str, Path]:
    """Draw every plot for which there are records into ``folder``; return the files by what they show."""
    made = {}
    for name, (title, benchmarks, plot) in _PLOTS.items():
        good = [record for record in records if record.benchmark in benchmarks and not record.error]
        if good:
            figure = Figure(_INCHES, dpi=_DPI, layout="constrained")
            plot(figure, good)
            made[title] = folder / f"{name}.png"
            figure.savefig(made[title], metadata={"Software": None})
    return made


def _under_load(figure: Figure, records: Sequence[Record]) -> None:
    axes = figure.subplots()
    loads = [100 * float(record.measured["load"]) for record in records]
    for server, colour, label in (("plain", "tab:orange", "plain server"), ("service", "tab:blue", "this service")):
        for percentile, style in (("p50", "-"), ("p95", "--")):
            latencies_s = [float(record.measured[f"{server}_{percentile}_s"]) for record in records]
            axes.plot(loads, latencies_s, style, marker="o", color=colour, label=f"{label}, {percentile}")
    axes.set(xlabel="arrivals, % of this service's capacity", ylabel="latency, s", yscale="log", xticks=loads)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper")


def _side_by_side(figure: Figure, records: Sequence[Record]) -> None:
    axes = figure.subplots()
    sides = [side for side in _SIDES if all(f"{side}_s" in record.measured for record in records)]
    thickness = 0.8 / len(records)
    for number, record in enumerate(records):
        shares = [float(record.measured[f"{side}_s"]) / float(record.measured["eager_s"]) for side in sides]
        places = [place + number * thickness for place in range(len(sides))]
        bars = axes.barh(places, shares, thickness, label=record.row)
        axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks([place + 0.4 - thickness / 2 for place in range(len(sides))], [_SIDES[side] for side in sides])
    axes.set(xlabel="time of a whole request ÷ that of PyTorch eager", xlim=(0, 1.15))
    axes.invert_yaxis()
    figure.legend(loc="outside upper right")


def _stages(figure: Figure, records: Sequence[Record]) -> None:
    axes, measured = figure.subplots(), records[-1].measured
    stages = {name.removesuffix("_ms"): float(value) for name, value in measured.items() if name.endswith("_ms")}
    bars = axes.barh(list(stages), list(stages.values()))
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel="ms, median")
    axes.margins(x=0.1)
    axes.invert_yaxis()


def _scaling(figure: Figure, records: Sequence[Record]) -> None:
    panels = {
        "size": ("step_ms_at_", "max_side, px", "ms a step"),
        "steps": ("s_at_", "steps", "s a picture"),
        "concurrency": ("pictures_per_s_at_", "requests at once", "pictures a second"),
    }
    for axes, record in zip(figure.subplots(1, len(records), squeeze=False)[0], records, strict=True):
        prefix, x_label, y_label = panels[record.benchmark]
        points = {_number(name, prefix): float(v) for name, v in record.measured.items() if name.startswith(prefix)}
        axes.plot(list(points), list(points.values()), marker="o")
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.set(xlim=(0, 1.1 * max(points)), ylim=(0, 1.1 * max(points.values())))


def _number(name: str, prefix: str) -> float:
    return float(name.removeprefix(prefix).removesuffix("_px"))


_Plot = Callable[[Figure, Sequence[Record]], Any]
_PLOTS: dict[str, tuple[str, Sequence[str], _Plot]] = {
    "under-load": ("Latency under load, this service and a plain server", ["plain-server"], _under_load),
    "side-by-side": ("One request, made in every way", ["side-by-side"], _side_by_side),
    "stages": ("Where a request's time goes", ["latency"], _stages),
    "scaling": ("How time grows", ["size", "steps", "concurrency"], _scaling),
}
