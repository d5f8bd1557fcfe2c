"""What every diffusion stage has in common: noise, its loss, and a few steps to look at."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler

from ..diffusion import sdxl_scheduler

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Noisy latents (B, 4, h, w) and timesteps (B, 1) → the noise in them."""

_SNR_LIMIT = 5.0


@dataclass(frozen=True)
class Attempt:
    """What a network made of a batch of noisy latents."""

    error: torch.Tensor
    """(B, 4, h, w): squared, of the predicted noise."""
    weight: torch.Tensor
    """(B,): how much it counts at its timestep."""
    signal: torch.Tensor
    """(B,): the share of the noisy latents that is not noise, a square root of ᾱ."""
    clean: torch.Tensor
    """(B, 4, h, w): the latents that the predicted noise leaves."""

    def loss(self, attention: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weighted error; ``attention`` (B, 1, h, w) says how much each cell counts."""
        error = self.error if attention is None else self.error * attention / attention.mean()
        return (self.weight * error.mean((1, 2, 3))).mean()


class Denoising:
    """SDXL's noise, learnt with the loss of arXiv:2303.09556 (Min-SNR-γ).

    With a ``least_snr``, timesteps of more noise than that count as if they had no more: it is there that a sampler
    decides what a picture shows, and there that the plain error hardly sees it.
    """

    def __init__(self, device: torch.device, least_snr: float = 0.0) -> None:
        self._schedule = DDPMScheduler.from_config(sdxl_scheduler().config)
        self._alphas = self._schedule.alphas_cumprod.to(device)
        snr = self._alphas / (1 - self._alphas)
        self._weights = snr.clamp(least_snr, _SNR_LIMIT) / snr

    def attempt(self, predict: Predict, latents: torch.Tensor) -> Attempt:
        """Let ``predict`` find the noise in ``latents`` (B, 4, h, w) of unit deviation, at random timesteps."""
        noise = torch.randn_like(latents)
        timestep = torch.randint(len(self._weights), (len(latents), 1), device=latents.device)
        noisy = self._schedule.add_noise(latents, noise, timestep[:, 0])
        predicted = predict(noisy, timestep).float()
        signal, amount = (each.sqrt()[timestep[:, 0]] for each in (self._alphas, 1 - self._alphas))
        clean = (noisy - amount[:, None, None, None] * predicted) / signal[:, None, None, None]
        return Attempt((predicted - noise).square(), self._weights[timestep[:, 0]], signal, clean)


@torch.no_grad()
def denoise(predict: Predict, noise: torch.Tensor, steps: int = 10, guidance_scale: float = 3.0) -> torch.Tensor:
    """Return latents (B, 4, h, w); ``predict`` is asked for 2 B rows, [negative, positive]."""
    scheduler: EulerDiscreteScheduler = sdxl_scheduler()
    scheduler.set_timesteps(steps, device=noise.device)
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        rows = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        negative, positive = predict(rows, timestep.expand(len(rows), 1)).float().chunk(2)
        guided = negative + guidance_scale * (positive - negative)
        latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
    return latents
