"""The VAE's decoder, from the loop's latents to pixels."""

import torch
from diffusers import AutoencoderKL
from torch import nn


class VaeDecoder(nn.Module):
    """latents (B, 4, h, w) float32 as they leave the loop → image (B, H, W, 3) uint8 RGB."""

    std: torch.Tensor
    mean: torch.Tensor

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        config = vae.config
        shape = (1, config.latent_channels, 1, 1)
        ones, zeros = [1.0] * config.latent_channels, [0.0] * config.latent_channels
        mean, std = config.latents_mean or zeros, config.latents_std or ones
        self.register_buffer("std", torch.tensor(std).view(shape) / config.scaling_factor)
        self.register_buffer("mean", torch.tensor(mean).view(shape))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """latents (B, 4, h, w) → image (B, H, W, 3) uint8, rounded as diffusers' image processor does."""
        decoded = self.decode(latents)
        image = (decoded.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (image * 255).round().to(torch.uint8)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """latents (B, 4, h, w) → (B, 3, H, W) in about [-1, 1]."""
        unscaled = latents * self.std + self.mean
        return self.vae.decode(unscaled.to(self.vae.dtype), return_dict=False)[0]
