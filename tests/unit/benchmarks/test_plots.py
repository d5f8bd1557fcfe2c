"""Each plot shows the values of its records."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import plots
from benchmarks.records import Measured, Record


def record(benchmark: str, **measured: float) -> Record:
    found: Measured = dict(measured)
    return Record(benchmark, benchmark, "", 1.0, found, "", None, "", {})


LOADS = [
    record(
        "plain-server", load=load, service_p50_s=1 * load, service_p95_s=2 * load, plain_p50_s=3 * load, plain_p95_s=4
    )
    for load in (0.5, 1.2)
]
SIDES = [record("side-by-side", eager_s=2.0, engines_s=0.8, service_s=1.0)]
SCALING = [record("size", step_ms_at_128_px=10.0, step_ms_at_256_px=40.0), record("steps", s_at_4=0.2, s_at_50=2.0)]


def test_the_curves_under_load_are_the_percentiles() -> None:
    figure = Figure()
    plots._under_load(figure, LOADS)
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines["this service, p50"] == [0.5, 1.2]
    assert lines["plain server, p50"] == pytest.approx([1.5, 3.6])
    assert lines["plain server, p95"] == [4, 4]
    assert list(figure.axes[0].lines[0].get_xdata()) == [50, 120]


def test_the_bars_side_by_side_are_shares_of_eager_and_leave_out_who_did_not_run() -> None:
    figure = Figure()
    plots._side_by_side(figure, SIDES)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.0, 0.4, 0.5]


def test_each_way_of_growing_has_a_panel() -> None:
    figure = Figure()
    plots._scaling(figure, SCALING)
    points = [(list(axes.lines[0].get_xdata()), list(axes.lines[0].get_ydata())) for axes in figure.axes]
    assert points == [([128, 256], [10, 40]), ([4, 50], [0.2, 2.0])]


def test_what_was_measured_is_drawn_and_nothing_else(tmp_path: Path) -> None:
    made = plots.draw([*SIDES, record("latency", denoise_ms=300.0, vae_ms=20.0)], tmp_path)
    assert {path.name for path in made.values()} == {"side-by-side.png", "stages.png"}
    assert all(Image.open(path).width > 500 for path in made.values())
