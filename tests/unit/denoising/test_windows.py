"""Each control acts in its share of the steps, and guidance ends where it is told to."""

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from denoising import Denoising, Sharing, StepBatcher, denoise
from denoising.windows import Window

from tests.unit.denoising.fakes import CountingMetrics, FakeNetworks, make_denoising, predict_noise
from tests.unit.denoising.test_pipeline import Studio

SCALES = ("identitynet_scale", "depth_scale", "ip_adapter_scale")


def diffusers_keep(start: float, end: float, steps: int) -> list[float]:
    """The formula of diffusers' StableDiffusionXLControlNetPipeline."""
    return [1.0 - float(i / steps < start or (i + 1) / steps > end) for i in range(steps)]


@pytest.mark.parametrize("steps", [1, 4, 7, 10, 30])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (0.2, 0.8), (0.3, 0.7), (0.5, 1), (0, 0.01), (0.99, 1), (0.1, 0.3)])
def test_a_window_is_diffusers_own(start: float, end: float, steps: int) -> None:
    held = [float(Window(start, end).holds(step, steps)) for step in range(steps)]
    assert held == diffusers_keep(start, end, steps)


def calls_of(denoising: Denoising) -> list[dict[str, torch.Tensor]]:
    calls: list[dict[str, torch.Tensor]] = []

    def predict(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        calls.append(dict(inputs))
        return predict_noise(inputs)

    for _ in denoise(denoising, predict):
        pass
    return calls


@pytest.mark.parametrize("control", ["identitynet", "depth", "ip_adapter"])
def test_a_control_has_its_scale_inside_its_window_and_0_outside(control: str) -> None:
    window = {f"{control}_start": 0.2, f"{control}_end": 0.7}
    calls = calls_of(make_denoising(num_inference_steps=10, **window))
    always = calls_of(make_denoising(num_inference_steps=10))
    for step, (call, usual) in enumerate(zip(calls, always, strict=True)):
        for name in SCALES:
            acts = name != f"{control}_scale" or 2 <= step < 7
            torch.testing.assert_close(call[name], usual[name] * acts, rtol=0, atol=0)


def test_after_its_end_there_is_no_guidance_and_half_the_rows() -> None:
    calls = calls_of(make_denoising(num_inference_steps=10, guidance_end=0.6))
    assert [len(call["sample"]) for call in calls] == [2] * 6 + [1] * 4
    assert all(len(value) == len(call["sample"]) for call in calls for value in call.values())
    for name in ("encoder_hidden_states", "text_embeds", "prompt_image_emb"):
        torch.testing.assert_close(calls[6][name], calls[5][name][1:], rtol=0, atol=0)


def test_guidance_that_ends_at_once_is_guidance_1() -> None:
    *_, ended = denoise(make_denoising(guidance_end=0.0, num_inference_steps=6), predict_noise)
    *_, usual = denoise(make_denoising(num_inference_steps=6), predict_noise)
    lone = make_denoising(num_inference_steps=6)
    lone._all_acting = {name: value[1:] for name, value in lone._all_acting.items()}
    *_, expected = denoise(lone, predict_noise)
    torch.testing.assert_close(ended.latents, expected.latents, rtol=0, atol=0)
    assert not torch.equal(ended.latents, usual.latents)


def test_the_work_left_counts_the_rows_to_come() -> None:
    denoising = make_denoising(num_inference_steps=10, guidance_end=0.6)
    assert denoising.rows_left == 16
    steps = denoise(denoising, predict_noise)
    left = [denoising.rows_left for _ in steps]
    assert left == [14, 12, 10, 8, 6, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("sharing", [Sharing(16, fixed_rows=16), Sharing(16)], ids=["all share", "as pays"])
async def test_a_picture_is_the_same_alone_and_among_others_whose_controls_change_meanwhile(sharing: Sharing) -> None:
    changes = [
        {"seed": 1, "guidance_end": 0.4, "num_inference_steps": 7},
        {"seed": 2, "depth_start": 0.5, "num_inference_steps": 9},
        {"seed": 3, "identitynet_end": 0.3, "guidance_end": 0.8, "num_inference_steps": 5},
        {"seed": 4},
    ]
    networks, metrics = FakeNetworks(), CountingMetrics()
    batcher = StepBatcher(networks, sharing, metrics)
    together = [make_denoising(**each) for each in changes]
    await asyncio.gather(*(batcher.run(each, lambda _: None, lambda: False) for each in together))
    for each, denoising in zip(changes, together, strict=True):
        *_, alone = denoise(make_denoising(**each), predict_noise)
        np.testing.assert_allclose(denoising.latents, alone.latents, atol=1e-6)
    assert sum(rows for rows, _ in metrics.steps) == sum(make_denoising(**each).rows_left for each in changes)


async def test_a_request_reaches_the_step_with_its_windows() -> None:
    studio = Studio()
    await studio.generate(depth_end=0.5, guidance_end=0.75, num_inference_steps=4)
    calls = studio.networks.inputs_of("denoise_step")
    assert [call["depth_scale"][0].item() for call in calls] == [0.5, 0.5, 0, 0]
    assert [len(call["sample"]) for call in calls] == [2, 2, 2, 1]
