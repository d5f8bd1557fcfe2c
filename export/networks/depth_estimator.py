"""A transformers depth-estimation model (DPT, Depth Anything)."""

import torch
from torch import nn
from transformers import PreTrainedModel


class DepthEstimator(nn.Module):
    """pixel_values (B, 3, h, w), normalised as the checkpoint's processor says → predicted_depth (B, h', w')."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """pixel_values (B, 3, h, w) → predicted_depth (B, h', w'), larger = nearer."""
        return self.model(pixel_values).predicted_depth
