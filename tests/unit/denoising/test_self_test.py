import asyncio

import numpy as np
import pytest
import torch
from denoising import SelfTest, self_test

from insta_depth_shared.errors import EngineFailed, InvalidInput, Overloaded
from tests.unit.denoising.fakes import FakeNetworks, make_manifest

BROKEN = EngineFailed("identity_projector: CUDA error: an illegal memory access was encountered")
STOPPING = EngineFailed("identity_projector: Model identity_projector - Error when running inference: Server not ready")
FULL = EngineFailed("identity_projector: Failed to increase the shared memory pool size: No space left on device")


class Patient:
    """A self-test over an engine that fails as often as it is told to; keeps what it gives up with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: list[Exception]) -> None:
        monkeypatch.setattr(self_test, "PAUSE_S", 0.0)
        self.reasons: list[str] = []
        self.networks = FakeNetworks()
        self._failures, self._answer = iter(failures), self.networks._identity_projector
        self.networks._identity_projector = self._project  # type: ignore[method-assign]
        self.test = SelfTest(self.networks, make_manifest(), torch.device("cpu"), self.reasons.append)

    def _project(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if (failure := next(self._failures, None)) is not None:
            raise failure
        return self._answer(inputs)

    async def fail(self, error: Exception) -> None:
        with pytest.raises(type(error)), self.test.watching():
            raise error

    async def rest(self) -> int:
        """Wait until the test has ended; return how often it has called the engine."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await task
        return len(self.networks.inputs_of("identity_projector"))


@pytest.mark.parametrize("error", [EngineFailed("denoise_step: failed"), RuntimeError("CUDA error: unknown error")])
async def test_engines_that_never_answer_again_are_given_up(monkeypatch, error) -> None:
    patient = Patient(monkeypatch, [BROKEN] * 100)
    await patient.fail(error)
    assert await patient.rest() == self_test.ATTEMPTS
    assert patient.reasons == [f"identity_projector failed 6 times in a row: {BROKEN}"]


async def test_an_engine_that_answers_within_the_attempts_goes_on(monkeypatch) -> None:
    patient = Patient(monkeypatch, [BROKEN] * (self_test.ATTEMPTS - 1))
    await patient.fail(EngineFailed("denoise_step: failed"))
    assert await patient.rest() == self_test.ATTEMPTS
    assert patient.reasons == []


@pytest.mark.parametrize("error", [InvalidInput("seed: is wrong"), Overloaded("8 requests are in flight")])
async def test_a_request_that_is_to_blame_tests_nothing(monkeypatch, error) -> None:
    patient = Patient(monkeypatch, [BROKEN] * 100)
    await patient.fail(error)
    assert await patient.rest() == 0


@pytest.mark.parametrize("error", [FULL, STOPPING], ids=["full", "stopping"])
async def test_what_a_new_start_does_not_mend_is_no_reason_for_one(monkeypatch, error) -> None:
    patient = Patient(monkeypatch, [error] * 100)
    await patient.fail(error)
    assert await patient.rest() == 1
    assert patient.reasons == []


async def test_many_failures_are_tested_once_and_later_ones_again(monkeypatch) -> None:
    patient = Patient(monkeypatch, [])
    for calls in (1, 2):
        for _ in range(3):
            await patient.fail(BROKEN)
        assert await patient.rest() == calls
