"""One request's loop against diffusers' schedulers used in the plain way, as its pipelines do."""

from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from denoising import SCHEDULERS, Denoising, denoise, prepare_scheduler
from denoising.loop import guide, preview

from insta_depth_shared.errors import InvalidInput
from tests.unit.denoising.fakes import EULER_CONFIG, make_denoising, make_manifest, predict_noise


def last(denoising: Denoising) -> Denoising:
    *_, finished = denoise(denoising, predict_noise)
    return finished


def plain_loop(scheduler: diffusers.SchedulerMixin, denoising: Denoising, steps: int, guidance: float) -> np.ndarray:
    """The denoising loop of diffusers' SDXL pipelines, written out for one request of seed 1 and 64 × 64 pixels."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn((1, 4, 8, 8), generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        rows = denoising.row_count
        scaled = scheduler.scale_model_input(torch.cat([latents] * rows), timestep)
        inputs = {"sample": scaled, "timestep": torch.full((rows, 1), timestep.item(), dtype=torch.float32)}
        noise = predict_noise({**denoising.conditioning, **inputs})
        if rows == 2:
            negative, positive = noise.chunk(2)
            noise = negative + guidance * (positive - negative)
        takes_generator = not isinstance(
            scheduler, diffusers.DPMSolverMultistepScheduler | diffusers.UniPCMultistepScheduler
        )
        options = {"generator": generator} if takes_generator else {}
        latents = scheduler.step(noise, timestep, latents, **options).prev_sample
    return latents.numpy()


@pytest.mark.parametrize(
    ("name", "scheduler_class", "overrides"),
    [
        ("euler", diffusers.EulerDiscreteScheduler, {}),
        ("checkpoint", diffusers.EulerDiscreteScheduler, {}),
        ("euler_ancestral", diffusers.EulerAncestralDiscreteScheduler, {}),
        ("dpmpp_2m", diffusers.DPMSolverMultistepScheduler, {}),
        ("dpmpp_2m_karras", diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
        ("unipc", diffusers.UniPCMultistepScheduler, {}),
        ("lcm", diffusers.LCMScheduler, {}),
        ("ddim", diffusers.DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    ],
)
def test_the_loop_equals_diffusers_own(name: str, scheduler_class: Any, overrides: dict[str, bool]) -> None:
    denoising = make_denoising(scheduler=name, num_inference_steps=6, guidance_scale=2.5)
    plain = plain_loop(scheduler_class.from_config(EULER_CONFIG, **overrides), denoising, 6, 2.5)
    np.testing.assert_array_equal(last(denoising).latents, plain)


def test_without_guidance_there_is_one_row() -> None:
    denoising = make_denoising(guidance_scale=1.0)
    plain = plain_loop(diffusers.EulerDiscreteScheduler.from_config(EULER_CONFIG), denoising, 4, 1.0)
    assert denoising.row_count == 1
    np.testing.assert_array_equal(last(denoising).latents, plain)


def test_guidance_goes_from_the_first_row_to_the_second() -> None:
    negative, positive = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    assert guide(torch.cat([negative, positive]), 3.0).item() == 4.0


def test_a_generator_that_stops_early_leaves_the_request_between_steps() -> None:
    denoising = make_denoising(num_inference_steps=5)
    for state in denoise(denoising, predict_noise):
        if state.step == 2:
            break
    assert (denoising.step, denoising.is_finished) == (2, False)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_reports_each_of_its_steps(name: str) -> None:
    denoising = make_denoising(scheduler=name, num_inference_steps=5)
    steps = [(state.step, state.step_count) for state in denoise(denoising, predict_noise)]
    assert steps == [(step, 5) for step in range(1, 6)]


def test_the_inputs_have_the_types_of_the_manifest() -> None:
    rows = make_denoising().rows()
    assert rows["sample"].shape == (2, 4, 8, 8)
    assert rows["timestep"].shape == (2, 1)
    assert {value.dtype for value in rows.values()} == {torch.float32}


def test_a_scheduler_says_how_many_steps_its_training_has() -> None:
    with pytest.raises(InvalidInput) as caught:
        prepare_scheduler("lcm", 51, EULER_CONFIG | {"num_train_timesteps": 50})
    assert caught.value.message == "num_inference_steps: 51 is above the maximum 50 of the scheduler lcm"


def test_a_sampler_for_distilled_networks_takes_more_steps_than_it_was_made_for() -> None:
    distilled = EULER_CONFIG | {"_class_name": "LCMScheduler", "original_inference_steps": 20}
    published = diffusers.LCMScheduler.from_config(distilled)
    published.set_timesteps(20)
    assert prepare_scheduler("lcm", 20, distilled).timesteps.tolist() == published.timesteps.tolist()
    assert len(set(prepare_scheduler("lcm", 100, distilled).timesteps.tolist())) == 100


def test_the_preview_has_a_pixel_for_each_latent_cell() -> None:
    picture = preview(last(make_denoising(size_px=(64, 128))), make_manifest())
    assert picture.shape == (8, 16, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 0


@pytest.mark.parametrize("name", SCHEDULERS)
def test_on_a_device_nothing_is_read_back_to_the_host(name: str) -> None:
    """The meta device stands in for a GPU: reading a value from it raises."""
    denoising = make_denoising(scheduler=name, num_inference_steps=4, device=torch.device("meta"))
    for state in denoise(denoising, lambda inputs: torch.empty_like(inputs["sample"])):
        assert state.latents.device.type == "meta"
        assert state.predicted_original.device.type == "meta"
    with pytest.raises(NotImplementedError, match="meta"):
        denoising.latents.cpu()
