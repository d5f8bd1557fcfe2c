"""The step batcher: who shares a call with whom, who leaves, and that other requests in the batch change nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import pytest
from denoising import Denoising, Metrics, Sharing, StepBatcher, denoise

from insta_depth_shared.errors import Cancelled, EngineFailed
from tests.unit.denoising.fakes import CountingMetrics, FakeNetworks, make_denoising, predict_noise


def make_batcher(
    networks: FakeNetworks, max_rows: int = 16, metrics: Metrics | None = None, fixed_rows: int = 16
) -> StepBatcher:
    return StepBatcher(networks, Sharing(max_rows, fixed_rows), metrics or Metrics())


def nothing(*_: Any) -> None:
    """A listener that has nothing to say."""


def never() -> bool:
    return False


def run(
    batcher: StepBatcher,
    denoising: Denoising,
    on_step: Callable[[Denoising], Any] = nothing,
    is_cancelled: Callable[[], bool] = never,
) -> Awaitable[None]:
    return batcher.run(denoising, on_step, is_cancelled)


def alone(**changes: Any) -> np.ndarray:
    *_, finished = denoise(make_denoising(**changes), predict_noise)
    return finished.latents


MEMBERS: list[dict[str, Any]] = [
    {"seed": 1},
    {"seed": 2, "num_inference_steps": 7, "scheduler": "dpmpp_2m_karras"},
    {"seed": 3, "guidance_scale": 1.0},
    {"seed": 4, "size_px": (64, 128), "scheduler": "euler_ancestral"},
    {"seed": 5, "size_px": (64, 128), "guidance_scale": 7.5, "num_inference_steps": 5},
    {"seed": 6, "windows": 2, "scheduler": "lcm"},
    {"seed": 7, "ip_adapter_scale": 0.0, "scheduler": "unipc"},
    {"seed": 8, "num_inference_steps": 4, "scheduler": "ddim"},
]


@pytest.mark.parametrize(("max_rows", "fixed_rows"), [(2, 2), (5, 5), (16, 16), (16, 0)])
async def test_other_requests_in_the_batch_change_nothing(max_rows: int, fixed_rows: int) -> None:
    batcher = make_batcher(FakeNetworks(), max_rows, fixed_rows=fixed_rows)
    members = [make_denoising(**changes) for changes in MEMBERS]
    await asyncio.gather(*(run(batcher, denoising) for denoising in members))
    for denoising, changes in zip(members, MEMBERS, strict=True):
        np.testing.assert_array_equal(denoising.latents, alone(**changes))


async def test_requests_of_one_shape_share_each_call() -> None:
    metrics = CountingMetrics()
    batcher = make_batcher(FakeNetworks(), metrics=metrics)
    await asyncio.gather(*(run(batcher, make_denoising(seed=seed)) for seed in range(3)))
    assert metrics.steps == [(6, 6)] * 4


async def test_sizes_and_token_counts_do_not_mix() -> None:
    metrics = CountingMetrics()
    batcher = make_batcher(FakeNetworks(), metrics=metrics)
    others: list[dict[str, Any]] = [{}, {"size_px": (64, 128)}, {"windows": 2}]
    await asyncio.gather(*(run(batcher, make_denoising(**changes)) for changes in others))
    assert metrics.steps == [(2, 6)] * 4 + [(2, 4)] * 4 + [(2, 2)] * 4


async def test_a_request_s_two_rows_never_part() -> None:
    metrics = CountingMetrics()
    batcher = make_batcher(FakeNetworks(), max_rows=5, metrics=metrics)
    await asyncio.gather(*(run(batcher, make_denoising(seed=seed)) for seed in range(3)))
    assert metrics.steps == [(4, 6)] * 4 + [(2, 2)] * 4


async def test_a_late_one_shares_calls_from_its_first_step() -> None:
    networks, metrics = FakeNetworks(), CountingMetrics()
    batcher = make_batcher(networks, metrics=metrics)
    late = make_denoising(seed=2)
    tasks = []

    def bring_the_late_one(first: Denoising) -> None:
        if first.step == 2:
            tasks.append(asyncio.ensure_future(run(batcher, late)))

    await run(batcher, make_denoising(seed=1), bring_the_late_one)
    await asyncio.gather(*tasks)
    assert [rows for rows, _ in metrics.steps] == [2, 2, 4, 4, 2, 2]
    np.testing.assert_array_equal(late.latents, alone(seed=2))


async def test_who_waits_is_told_once_how_many_are_ahead() -> None:
    told: list[tuple[str, int, int]] = []

    def waiting(name: str) -> Callable[[Denoising, int], None]:
        return lambda denoising, ahead: told.append((name, denoising.step, ahead))

    batcher = make_batcher(FakeNetworks(), fixed_rows=2)
    steps = {"short": 4, "longer": 5, "longest": 6}
    await asyncio.gather(
        *(
            batcher.run(make_denoising(num_inference_steps=count), nothing, never, waiting(name))
            for name, count in steps.items()
        )
    )
    assert told == [("longer", 0, 1), ("longest", 0, 2), ("longest", 0, 1)]


async def test_a_shorter_one_goes_first_and_the_longer_one_is_told() -> None:
    batcher, told, tasks = make_batcher(FakeNetworks(), fixed_rows=2), list[tuple[int, int]](), []

    def bring_a_shorter_one(long: Denoising) -> None:
        if long.step == 2:
            tasks.append(asyncio.ensure_future(run(batcher, make_denoising(num_inference_steps=4))))

    long = make_denoising(num_inference_steps=50)
    await batcher.run(long, bring_a_shorter_one, never, lambda denoising, ahead: told.append((denoising.step, ahead)))
    await asyncio.gather(*tasks)
    assert told == [(2, 1)]


async def test_a_listener_that_fails_while_it_waits_fails_its_own_request_only() -> None:
    def gone(denoising: Denoising, ahead: int) -> None:
        raise ConnectionError("the client is gone")

    batcher = make_batcher(FakeNetworks(), fixed_rows=2)
    results = await asyncio.gather(
        run(batcher, make_denoising(seed=1)),
        batcher.run(make_denoising(seed=2), nothing, never, gone),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), ConnectionError]


async def test_who_cancels_leaves_between_two_steps() -> None:
    networks = FakeNetworks()
    batcher = make_batcher(networks)
    leaving, staying = make_denoising(seed=1), make_denoising(seed=2)
    results = await asyncio.gather(
        run(batcher, leaving, is_cancelled=lambda: leaving.step == 2), run(batcher, staying), return_exceptions=True
    )
    assert isinstance(results[0], Cancelled)
    assert results[1] is None
    assert [len(inputs["sample"]) for inputs in networks.inputs_of("denoise_step")] == [4, 4, 2, 2]
    np.testing.assert_array_equal(staying.latents, alone(seed=2))


async def test_a_cancelled_task_leaves_too() -> None:
    networks = FakeNetworks()
    batcher = make_batcher(networks)
    leaving = asyncio.ensure_future(run(batcher, make_denoising(seed=1, num_inference_steps=100)))
    staying = asyncio.ensure_future(run(batcher, make_denoising(seed=2)))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert len(networks.inputs_of("denoise_step")[-1]["sample"]) == 2


async def test_a_failing_call_fails_its_own_requests_only() -> None:
    def step(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        if inputs["sample"].shape[3] == 16:
            raise EngineFailed("unet: out of memory")
        return predict_noise(inputs)

    batcher = make_batcher(FakeNetworks(step))
    sizes = [(64, 64), (64, 128), (64, 128)]
    results = await asyncio.gather(
        *(run(batcher, make_denoising(size_px=size)) for size in sizes), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), EngineFailed, EngineFailed]


async def test_a_listener_that_fails_fails_its_own_request_only() -> None:
    def gone(_: Denoising) -> None:
        raise ConnectionError("the client is gone")

    batcher = make_batcher(FakeNetworks())
    results = await asyncio.gather(
        run(batcher, make_denoising(seed=1), gone), run(batcher, make_denoising(seed=2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [ConnectionError, type(None)]


async def test_a_question_that_fails_fails_its_own_request_only() -> None:
    def gone() -> bool:
        raise ConnectionError("the client is gone")

    batcher = make_batcher(FakeNetworks())
    results = await asyncio.gather(
        run(batcher, make_denoising(seed=1), is_cancelled=gone),
        run(batcher, make_denoising(seed=2)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [ConnectionError, type(None)]


async def test_after_a_failure_the_next_request_works() -> None:
    networks = FakeNetworks()
    networks.before_step = failing_once(RuntimeError("a hiccup"))
    batcher = make_batcher(networks)
    with pytest.raises(RuntimeError, match="a hiccup"):
        await run(batcher, make_denoising())
    await run(batcher, make_denoising())


async def test_a_failure_outside_of_the_calls_ends_its_tick_and_not_the_batcher() -> None:
    class Broken(Metrics):
        def __init__(self) -> None:
            self.fail = failing_once(ZeroDivisionError())

        def step_called(self, rows: int, rows_in_flight: int) -> None:
            self.fail()

    batcher = make_batcher(FakeNetworks(), metrics=Broken())
    with pytest.raises(ZeroDivisionError):
        await run(batcher, make_denoising())
    await run(batcher, make_denoising())


async def test_an_idle_batcher_rests() -> None:
    batcher = make_batcher(FakeNetworks())
    await run(batcher, make_denoising())
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def failing_once(error: Exception) -> Callable[[], None]:
    errors = [error]

    def fail() -> None:
        if errors:
            raise errors.pop()

    return fail
