"""The UNet with InstantID's face attention, which sums the residuals of all ControlNets."""

from functools import reduce
from operator import add

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from . import region


class UNet(nn.Module):
    """One denoising step. ``vae_factor``: pixels a latent cell; ``residuals``: how many a ControlNet makes."""

    def __init__(self, unet: UNet2DConditionModel, vae_factor: int, residuals: int) -> None:
        super().__init__()
        self.unet = unet
        self.levels_px = [vae_factor * 2**level for level in range(len(unet.config.block_out_channels))]
        self.residuals = residuals

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        prompt_image_emb: torch.Tensor,
        ip_adapter_scale: torch.Tensor,
        region_mask: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
        *controls: torch.Tensor,
    ) -> torch.Tensor:
        """sample (B, 4, h, w), already scaled for the timestep → noise_pred (B, 4, h, w).

        timestep (B, 1); encoder_hidden_states (B, T, X); prompt_image_emb (B, 16, X); ip_adapter_scale (B, 1);
        region_mask (B, 1, H, W) in [0, 1]; text_embeds (B, P); time_ids (B, 6); ``controls``: the residuals of one
        ControlNet after the other, the mid block's last in each.
        """
        summed = [reduce(add, controls[i :: self.residuals]) for i in range(self.residuals)]
        face = {
            "face_tokens": prompt_image_emb,
            "face_scale": ip_adapter_scale.unsqueeze(-1),
            "face_masks": tuple(region.nearest(region_mask, px) for px in self.levels_px),
        }
        return self.unet(
            sample,
            timestep.squeeze(1),
            encoder_hidden_states,
            cross_attention_kwargs=face,
            added_cond_kwargs={"text_embeds": text_embeds, "time_ids": time_ids},
            down_block_additional_residuals=tuple(summed[:-1]),
            mid_block_additional_residual=summed[-1],
            return_dict=False,
        )[0]
