"""A UNet distilled with guidance as an input (LCM, arXiv:2310.04378): its value becomes part of its weights."""

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding

GUIDANCE_SCALE = 8.0
"""That of the model card of latent-consistency/lcm-sdxl."""


def fuse_guidance(unet: UNet2DConditionModel) -> None:
    """Add what `GUIDANCE_SCALE` does to the time embedding, the same at every step, to its first layer's bias.

    A UNet without that input stays as it is. The scale's embedding is that of diffusers' pipelines
    (``get_guidance_scale_embedding``), which its projection adds to what the layer multiplies.
    """
    embedding = unet.time_embedding
    if embedding.cond_proj is None:
        return
    scale = torch.tensor([1000 * (GUIDANCE_SCALE - 1)])
    guidance = get_timestep_embedding(scale, embedding.cond_proj.in_features, downscale_freq_shift=1)
    with torch.no_grad():
        shift = embedding.linear_1.weight.float() @ embedding.cond_proj.weight.float() @ guidance[0]
        embedding.linear_1.bias.copy_(embedding.linear_1.bias.float() + shift)
    embedding.cond_proj = None
