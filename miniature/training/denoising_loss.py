"""Shared by the diffusion stages: noise, loss, and sampling for previews."""

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
    """A network's predictions for a batch of noisy latents."""

    error: torch.Tensor
    """(B, 4, h, w): squared error of the predicted noise."""
    weight: torch.Tensor
    """(B,): the loss weight of its timestep."""
    signal: torch.Tensor
    """(B,): the signal's share of the noisy latents, the square root of ᾱ."""
    clean: torch.Tensor
    """(B, 4, h, w): the predicted clean latents."""

    def loss(self, attention: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weighted error; ``attention`` (B, 1, h, w) weights the cells."""
        error = self.error if attention is None else self.error * attention / attention.mean()
        return (self.weight * error.mean((1, 2, 3))).mean()


class Denoising:
    """SDXL's noise, learnt with the loss of arXiv:2303.09556 (Min-SNR-γ).

    ``least_snr`` limits the weight's SNR from below, so that very noisy timesteps, at which a sampler decides a
    picture's content, are not neglected.
    """

    def __init__(self, device: torch.device, least_snr: float = 0.0) -> None:
        self._schedule = DDPMScheduler.from_config(sdxl_scheduler().config)
        self._alphas = self._schedule.alphas_cumprod.to(device)
        snr = self._alphas / (1 - self._alphas)
        self._weights = snr.clamp(least_snr, _SNR_LIMIT) / snr

    def attempt(self, predict: Predict, latents: torch.Tensor) -> Attempt:
        """Let ``predict`` predict the noise in ``latents`` (B, 4, h, w) of unit deviation, at random timesteps."""
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
