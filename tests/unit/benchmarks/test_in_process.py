"""The other side of the comparison runs the same repository without Triton."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import batching
from benchmarks.in_process import InProcess
from tests.triton import toy_repository

PAGE = """\
# HELP insta_depth_step_rows_total Rows in all calls of denoise_step
# TYPE insta_depth_step_rows_total counter
insta_depth_step_rows_total 160
insta_depth_step_rows_in_flight_total{a="b"} 2e2
insta_depth_step_rows_in_flight_total{a="c"} 1
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    return InProcess(toy_repository.make(tmp_path_factory.mktemp("repository")))


async def test_an_engine_answers(networks: InProcess) -> None:
    a = np.ones((2, 3), np.float32)
    answer = await networks.call("adder", {"a": a, "b": a}, ["sum"])
    np.testing.assert_array_equal(answer["sum"], 2 * a)


def test_an_ensemble_is_wired_as_its_configuration_says(networks: InProcess) -> None:
    a, factor = np.ones((2, 3), np.float32), np.array([[3], [5]], np.float32)
    answer = networks.call_now("sum_then_scale", {"a": a, "b": a, "factor": factor}, ["scaled"])
    np.testing.assert_array_equal(answer["scaled"], np.broadcast_to(2 * factor, (2, 3)))
    assert list(answer) == ["scaled"]


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
