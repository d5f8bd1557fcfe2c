"""Latents from noise to a picture, one call of the network at a time."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .parametrisation import original_from, training_of


class Trajectory:
    """A scheduler's run over its timesteps; the caller makes the predictions.

    ``scheduler``: not shared, from `prepare_scheduler`. ``noise``: (1, C, h, w) float32 of unit variance, on the
    device of the latents. ``generator``: for schedulers that draw noise. ``original``: a picture's latents, of the
    same shape, to which the noise is added; the run then begins with timestep ``first``, not with pure noise.
    """

    def __init__(
        self,
        scheduler: Any,
        noise: torch.Tensor,
        generator: torch.Generator,
        original: torch.Tensor | None = None,
        first: int = 0,
    ) -> None:
        self._timesteps = scheduler.timesteps[first:]
        self.timesteps: list[float] = self._timesteps.tolist()
        self.step = 0
        if original is None:
            self.latents = noise * scheduler.init_noise_sigma
        else:
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(first)
            self.latents = scheduler.add_noise(original, noise, self._timesteps[:1])
        self._scheduler = scheduler
        self._options = {"generator": generator} if _takes_generator(scheduler) else {}
        self._training = training_of(scheduler.config)
        self._input = self._predicted = self.latents

    @property
    def is_finished(self) -> bool:
        """Whether every step is done."""
        return self.step == len(self.timesteps)

    @property
    def timestep(self) -> float:
        """The network's timestep input at the next step."""
        return self.timesteps[self.step]

    @property
    def predicted_original(self) -> torch.Tensor:
        """(1, C, h, w) float32: the clean latents that the last prediction implies; before the first, the noise."""
        if self.step == 0:
            return self.latents
        return original_from(self._training, self._input, self._predicted, self.timesteps[self.step - 1])

    def network_input(self) -> torch.Tensor:
        """Return (1, C, h, w) float32, the network's input at the next step. Call it once per step."""
        self._input = self._scheduler.scale_model_input(self.latents, self._timesteps[self.step])
        return self._input

    def advance(self, prediction: torch.Tensor) -> None:
        """Take one step with the network's ``prediction``, (1, C, h, w) float32."""
        timestep = self._timesteps[self.step]
        output = self._scheduler.step(prediction, timestep, self.latents, **self._options)
        self.latents, self._predicted = output.prev_sample, prediction
        self.step += 1


@dataclass(frozen=True)
class PictureStart:
    """A run that begins at a picture, noised part of the way, as diffusers' image-to-image pipelines do.

    ``mean``, ``std``: (1, C, h, w) float32, the picture's latents as ``vae_encoder`` returns them.
    ``strength``: the share of the steps to take, the last ones.
    """

    mean: torch.Tensor
    std: torch.Tensor
    strength: float

    def trajectory(
        self, scheduler: Any, num_inference_steps: int, draw: Callable[[], torch.Tensor], generator: torch.Generator
    ) -> Trajectory:
        """Return the run; ``draw`` returns noise of the latents' shape and device, each time anew."""
        original = self.mean + self.std * draw()
        skipped = num_inference_steps - steps_from_picture(num_inference_steps, self.strength)
        return Trajectory(scheduler, draw(), generator, original, skipped * scheduler.order)


def steps_from_picture(num_inference_steps: int, strength: float) -> int:
    """Return how many of the steps a run from a picture takes: at least one."""
    return min(max(int(num_inference_steps * strength), 1), num_inference_steps)


def _takes_generator(scheduler: Any) -> bool:
    return "generator" in inspect.signature(scheduler.step).parameters
