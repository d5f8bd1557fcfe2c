"""The VAE's encoder, from pixels to the distribution of the loop's latents, for a pass that starts from a picture."""

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import nn

from .vae_decoder import scaling


class VaeEncoder(nn.Module):
    """image (B, H, W, 3) uint8 RGB → mean and std (B, 4, h, w) float32 of latents as the loop takes them."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        scale, shift = scaling(vae)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale pixels to [-1, 1] as diffusers' image processor does, and return diffusers' ``latent_dist``, scaled."""
        pixels = image.float() / 255 * 2 - 1  # first, because TensorRT does not transpose bytes
        moments = self.vae.encoder(pixels.permute(0, 3, 1, 2).to(self.vae.dtype))
        if self.vae.quant_conv is not None:
            moments = self.vae.quant_conv(moments)
        latents = DiagonalGaussianDistribution(moments.float())
        return (latents.mean - self.shift) / self.scale, latents.std / self.scale
