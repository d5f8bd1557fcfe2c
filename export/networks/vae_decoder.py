"""The VAE's decoder, from the loop's latents to pixels; and a linear map of it, for previews."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

_PICTURES, _CELLS = 4, 16
"""Latents that the preview is fitted on: how many, and their side."""


class VaeDecoder(nn.Module):
    """latents (B, 4, h, w) float32 as they leave the loop → image (B, H, W, 3) uint8 RGB."""

    std: torch.Tensor
    mean: torch.Tensor

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        std, mean = scaling(vae)
        self.register_buffer("std", std)
        self.register_buffer("mean", mean)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """latents (B, 4, h, w) → image (B, H, W, 3) uint8, rounded as diffusers' image processor does."""
        decoded = self.decode(latents)
        image = (decoded.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (image * 255).round().to(torch.uint8)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """latents (B, 4, h, w) → (B, 3, H, W) in about [-1, 1]."""
        unscaled = latents * self.std + self.mean
        return self.vae.decode(unscaled.to(self.vae.dtype), return_dict=False)[0]


def scaling(vae: AutoencoderKL) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (1, 4, 1, 1) each: the VAE's own latents are the loop's times the first, plus the second."""
    config = vae.config
    shape = (1, config.latent_channels, 1, 1)
    ones, zeros = [1.0] * config.latent_channels, [0.0] * config.latent_channels
    mean, std = config.latents_mean or zeros, config.latents_std or ones
    return torch.tensor(std).view(shape) / config.scaling_factor, torch.tensor(mean).view(shape)


def fit_preview(decoder: VaeDecoder, channels: int, factor: int) -> tuple[list[list[float]], list[float]]:
    """Return weight (3, channels) and bias (3) of the least-squares fit: latents → RGB in [0, 1].

    With it the loop shows a picture without the decoder. Fitted on smooth random latents, one colour a latent cell;
    SDXL's own map is well known, and fitting makes it right for any checkpoint.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((_PICTURES, channels, _CELLS // 4, _CELLS // 4), generator=generator)
    latents = F.interpolate(coarse, size=(_CELLS, _CELLS), mode="bicubic") * 1.5
    with torch.no_grad():
        pixels = decoder.decode(latents).float() / 2 + 0.5
    colours = F.avg_pool2d(pixels.clamp(0, 1), factor).permute(0, 2, 3, 1).reshape(-1, 3)
    cells = latents.permute(0, 2, 3, 1).reshape(-1, channels)
    cells = torch.cat([cells, torch.ones(len(cells), 1)], dim=1)
    solution = torch.linalg.lstsq(cells, colours).solution
    return solution[:-1].T.tolist(), solution[-1].tolist()
