"""SDXL's two text encoders, cut at the hidden states that SDXL reads: the penultimate layer's."""

import torch
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

PENULTIMATE = -2


class TextEncoder(nn.Module):
    """input_ids (B, 77) int64 → hidden_states (B, 77, X1)."""

    def __init__(self, model: CLIPTextModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """input_ids (B, 77) int64 → hidden_states (B, 77, X1)."""
        return self.model(input_ids, output_hidden_states=True).hidden_states[PENULTIMATE]


class TextEncoder2(nn.Module):
    """The second encoder also gives the pooled projection."""

    def __init__(self, model: CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """input_ids (B, 77) int64 → hidden_states (B, 77, X2), text_embeds (B, P)."""
        output = self.model(input_ids, output_hidden_states=True)
        return output.hidden_states[PENULTIMATE], output.text_embeds
