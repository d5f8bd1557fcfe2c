"""Latents from noise to a picture, one call of the network at a time."""

import inspect
from typing import Any

import torch

from .parametrisation import original_from, training_of


class Trajectory:
    """A scheduler's run over its timesteps; the caller makes the predictions.

    ``scheduler``: not shared, from `prepare_scheduler`. ``noise``: (1, C, h, w) float32 of unit variance, on the
    device of the latents. ``generator``: for schedulers that draw noise.
    """

    def __init__(self, scheduler: Any, noise: torch.Tensor, generator: torch.Generator) -> None:
        self.timesteps: list[float] = scheduler.timesteps.tolist()
        self.step = 0
        self.latents = noise * scheduler.init_noise_sigma
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
        self._input = self._scheduler.scale_model_input(self.latents, self._scheduler.timesteps[self.step])
        return self._input

    def advance(self, prediction: torch.Tensor) -> None:
        """Take one step with the network's ``prediction``, (1, C, h, w) float32."""
        timestep = self._scheduler.timesteps[self.step]
        output = self._scheduler.step(prediction, timestep, self.latents, **self._options)
        self.latents, self._predicted = output.prev_sample, prediction
        self.step += 1


def _takes_generator(scheduler: Any) -> bool:
    return "generator" in inspect.signature(scheduler.step).parameters
