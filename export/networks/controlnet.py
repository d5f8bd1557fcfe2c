"""The ControlNets: IdentityNet, which reads the face, and those that read the text or nothing."""

import torch
from diffusers import ControlNetModel
from torch import nn

from ..controlnets import ControlNet
from ..facts import Facts
from . import region


def controlnet_module(row: ControlNet, controlnet: ControlNetModel, facts: Facts) -> nn.Module:
    """Return ``controlnet`` with the inputs of its row's engine."""
    if row.reads_face:
        levels = [residual.level for residual in (*facts.residuals, facts.middle)]
        return IdentityNet(controlnet, [facts.vae_factor * 2**level for level in levels])
    return TextControlNet(controlnet) if row.engine in facts.text_readers else TextlessControlNet(controlnet)


class IdentityNet(nn.Module):
    """A ControlNet that attends to the face's tokens and acts inside the region mask only."""

    def __init__(self, controlnet: ControlNetModel, residuals_px: list[int]) -> None:
        """``residuals_px``: pixels a cell of each residual, the mid block's last."""
        super().__init__()
        self.controlnet = controlnet
        self.residuals_px = residuals_px

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        controlnet_cond: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
        conditioning_scale: torch.Tensor,
        region_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """sample (B, 4, h, w), encoder_hidden_states = face tokens (B, 16, X), controlnet_cond (B, 3, H, W) RGB
        in [0, 1], conditioning_scale (B, 1), region_mask (B, 1, H, W) in [0, 1] → residuals, mid block last.
        """
        residuals = _residuals(
            self.controlnet,
            sample,
            timestep,
            encoder_hidden_states,
            controlnet_cond,
            text_embeds,
            time_ids,
            conditioning_scale,
        )
        masks = {px: region.bilinear(region_mask, px) for px in sorted(set(self.residuals_px))}
        return tuple(r * masks[px] for r, px in zip(residuals, self.residuals_px, strict=True))


class TextControlNet(nn.Module):
    """A ControlNet that attends to the text, as most of the published ones do."""

    def __init__(self, controlnet: ControlNetModel) -> None:
        super().__init__()
        self.controlnet = controlnet

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        controlnet_cond: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
        conditioning_scale: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """controlnet_cond: the conditioning picture (B, 3, H, W) in [0, 1] → residuals, mid block last."""
        return _residuals(
            self.controlnet,
            sample,
            timestep,
            encoder_hidden_states,
            controlnet_cond,
            text_embeds,
            time_ids,
            conditioning_scale,
        )


class TextlessControlNet(nn.Module):
    """A ControlNet without cross-attention, such as the published ``-small`` ones: no text among its inputs."""

    def __init__(self, controlnet: ControlNetModel) -> None:
        super().__init__()
        self.controlnet = controlnet

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        controlnet_cond: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
        conditioning_scale: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """controlnet_cond: the conditioning picture (B, 3, H, W) in [0, 1] → residuals, mid block last."""
        return _residuals(
            self.controlnet,
            sample,
            timestep,
            None,
            controlnet_cond,
            text_embeds,
            time_ids,
            conditioning_scale,
        )


def _residuals(
    controlnet: ControlNetModel,
    sample: torch.Tensor,
    timestep: torch.Tensor,
    tokens: torch.Tensor | None,
    controlnet_cond: torch.Tensor,
    text_embeds: torch.Tensor,
    time_ids: torch.Tensor,
    scale: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    down, middle = controlnet(
        sample,
        timestep.squeeze(1),
        tokens,
        controlnet_cond,
        conditioning_scale=scale[:, :, None, None],
        added_cond_kwargs={"text_embeds": text_embeds, "time_ids": time_ids},
        return_dict=False,
    )
    return (*down, middle)
