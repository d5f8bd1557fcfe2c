"""What every diffusion stage has in common: noise, its loss, and a few steps to look at."""

from collections.abc import Callable

import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler

from ..diffusion import sdxl_scheduler

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Noisy latents (B, 4, h, w) and timesteps (B, 1) → the noise in them."""

_SNR_LIMIT = 5.0


class Denoising:
    """SDXL's noise, learnt with the loss of arXiv:2303.09556 (Min-SNR-γ)."""

    def __init__(self, device: torch.device) -> None:
        self._schedule = DDPMScheduler.from_config(sdxl_scheduler().config)
        alphas = self._schedule.alphas_cumprod.to(device)
        self._weights = (_SNR_LIMIT * (1 - alphas) / alphas).clamp(max=1.0)

    def loss(self, predict: Predict, latents: torch.Tensor, attention: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weighted squared error for ``latents`` (B, 4, h, w) of unit deviation.

        ``attention`` (B, 1, h, w) says how much each cell counts.
        """
        noise = torch.randn_like(latents)
        timestep = torch.randint(len(self._weights), (len(latents), 1), device=latents.device)
        noisy = self._schedule.add_noise(latents, noise, timestep[:, 0])
        error = (predict(noisy, timestep).float() - noise).square()
        error = error if attention is None else error * attention / attention.mean()
        return (self._weights[timestep[:, 0]] * error.mean((1, 2, 3))).mean()


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
