"""InstantID's projector: one face embedding → a few tokens that the UNet and IdentityNet attend to.

A perceiver resampler (Flamingo, arXiv:2204.14198) as published with IP-Adapter and InstantID; parameter
names are those of the published file.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

PUBLISHED_HEAD_WIDTH = 64


class PerceiverAttention(nn.Module):
    """Latents attend to the input and to themselves."""

    def __init__(self, width: int, inner: int, head_width: int) -> None:
        super().__init__()
        self.heads = inner // head_width
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, features: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """features (B, N, width), latents (B, Q, width) → (B, Q, width)."""
        features, latents = self.norm1(features), self.norm2(latents)
        key, value = self.to_kv(torch.cat([features, latents], dim=1)).chunk(2, dim=-1)
        query, key, value = (self._split(x) for x in (self.to_q(latents), key, value))
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(attended.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _feed_forward(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, inner, bias=False),
        nn.GELU(),
        nn.Linear(inner, width, bias=False),
    )


class ResamplerLayer(nn.ModuleList):
    """Attention and feed-forward, each around a residual connection."""

    def forward(self, features: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """features (B, N, width), latents (B, Q, width) → (B, Q, width)."""
        attention, feed_forward = self
        latents = attention(features, latents) + latents
        return feed_forward(latents) + latents


class IdentityProjector(nn.Module):
    """face_emb (B, 512) float, the recogniser's raw embedding → prompt_image_emb (B, 16, X)."""

    def __init__(self, weights: Mapping[str, torch.Tensor], head_width: int = PUBLISHED_HEAD_WIDTH) -> None:
        """Sizes are read off ``weights`` (the file's ``image_proj``); only the head's width isn't in there."""
        super().__init__()
        self._build(weights, head_width)
        self.load_state_dict(weights)

    @classmethod
    def empty(cls, weights: Mapping[str, torch.Tensor]) -> "IdentityProjector":
        """Return a projector of these sizes on the meta device: what ``weights`` ought to hold."""
        projector = cls.__new__(cls)
        nn.Module.__init__(projector)
        with torch.device("meta"):
            projector._build(weights, PUBLISHED_HEAD_WIDTH)
        return projector

    def _build(self, weights: Mapping[str, torch.Tensor], head_width: int) -> None:
        _, queries, width = weights["latents"].shape
        inner = weights["layers.0.0.to_q.weight"].shape[0]
        hidden = weights["layers.0.1.1.weight"].shape[0]
        depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
        self.latents = nn.Parameter(torch.empty(1, queries, width))
        self.proj_in = nn.Linear(weights["proj_in.weight"].shape[1], width)
        self.proj_out = nn.Linear(width, weights["proj_out.weight"].shape[0])
        self.norm_out = nn.LayerNorm(weights["proj_out.weight"].shape[0])
        self.layers = nn.ModuleList(
            ResamplerLayer([PerceiverAttention(width, inner, head_width), _feed_forward(width, hidden)])
            for _ in range(depth)
        )

    def forward(self, face_emb: torch.Tensor) -> torch.Tensor:
        """face_emb (B, 512) → prompt_image_emb (B, 16, X)."""
        features = self.proj_in(face_emb).unsqueeze(1)
        latents = self.latents.expand(face_emb.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(features, latents)
        return self.norm_out(self.proj_out(latents))
