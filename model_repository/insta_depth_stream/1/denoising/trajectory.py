"""Latents on their way from noise to a picture, one call of the network at a time."""

import inspect
from typing import Any

import torch

from .parametrisation import original_from, training_of


class Trajectory:
    """One scheduler's way through its timesteps; who predicts, and from what, is the caller's business.

    ``scheduler``: one of its own, from `prepare_scheduler`.
    ``noise``: (1, C, h, w) float32 of unit variance, on the device where the latents stay.
    ``generator``: what a scheduler that draws noise draws it from.
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
        """What the network is told at the coming step."""
        return self.timesteps[self.step]

    @property
    def predicted_original(self) -> torch.Tensor:
        """(1, C, h, w) float32: the clean latents that the last prediction stands for; before any, the noise."""
        if self.step == 0:
            return self.latents
        return original_from(self._training, self._input, self._predicted, self.timesteps[self.step - 1])

    def network_input(self) -> torch.Tensor:
        """Return (1, C, h, w) float32, what the network sees at the coming step. Ask once a step."""
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
