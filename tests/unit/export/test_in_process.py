"""The same repository without Triton."""

import numpy as np
import pytest

from export.in_process import InProcess
from tests.triton import toy_repository


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
