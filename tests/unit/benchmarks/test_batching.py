"""Loads for the batching benchmark, and what it reads off Triton's metrics page."""

import time
from itertools import pairwise
from pathlib import Path

from benchmarks import batching

PAGE = """\
# HELP insta_depth_step_rows_total Rows in all calls of denoise_step
# TYPE insta_depth_step_rows_total counter
insta_depth_step_rows_total 160
insta_depth_step_rows_in_flight_total{a="b"} 2e2
insta_depth_step_rows_in_flight_total{a="c"} 1
"""


def test_counters_are_summed_over_their_labels(tmp_path: Path) -> None:
    page = tmp_path / "metrics"
    page.write_text(PAGE)
    assert batching.read_counters(page.as_uri()) == {"step_calls": 0, "step_rows": 160, "step_rows_in_flight": 201}


def test_requests_start_a_gap_apart() -> None:
    starts: list[float] = []

    class Client:
        def generate(self, **attributes: int) -> int:
            starts.append(time.monotonic())
            return attributes["seed"]

    answers = batching.send(Client(), [{"seed": seed} for seed in range(4)], gap_s=0.05)  # type: ignore[arg-type]
    assert answers == [0, 1, 2, 3]
    assert all(later - earlier >= 0.03 for earlier, later in pairwise(starts))
