"""InstantID's decoupled face attention inside diffusers' UNet (IP-Adapter, arXiv:2308.06721).

Every cross-attention layer attends to the text, and with the same query and two projections of its own
to the face's tokens: ``text + ip_adapter_scale × mask × face``. Scale and mask arrive as tensors with each
call, through diffusers' ``cross_attention_kwargs``.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn


class SelfAttention(AttnProcessor2_0):
    """diffusers' own processor; diffusers hands the face's arguments to every layer, these ignore them."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        face_tokens: torch.Tensor | None = None,
        face_scale: torch.Tensor | None = None,
        face_masks: tuple[torch.Tensor, ...] | None = None,
    ) -> torch.Tensor:
        """See diffusers."""
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask)


class FaceAttention(nn.Module):
    """Processor of one cross-attention layer; ``level``: how often the query's plane was halved."""

    def __init__(self, weights: Mapping[str, torch.Tensor], level: int) -> None:
        super().__init__()
        self.level = level
        self.to_k_ip = _linear(weights["to_k_ip.weight"])
        self.to_v_ip = _linear(weights["to_v_ip.weight"])

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        face_tokens: torch.Tensor,
        face_scale: torch.Tensor,
        face_masks: tuple[torch.Tensor, ...],
    ) -> torch.Tensor:
        """hidden_states (B, Q, C), encoder_hidden_states (B, T, X), face_tokens (B, 16, X),
        face_scale (B, 1, 1), face_masks: one (B, 1, h, w) a level → (B, Q, C).
        """
        query = _split(attn.to_q(hidden_states), attn.heads)
        text = _attend(attn, query, attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        face = _attend(attn, query, self.to_k_ip(face_tokens), self.to_v_ip(face_tokens))
        mask = face_masks[self.level].flatten(1).unsqueeze(-1)
        hidden_states = attn.to_out[0](text + face_scale * mask * face)
        return attn.to_out[1](hidden_states) / attn.rescale_output_factor


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _attend(attn: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    key, value = _split(key, attn.heads), _split(value, attn.heads)
    attended = F.scaled_dot_product_attention(query, key, value, scale=attn.scale)
    return attended.transpose(1, 2).flatten(2)


def add_face_attention(unet: UNet2DConditionModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Give every cross-attention layer of ``unet`` its face projections.

    ``weights`` has the published keys ``"{i}.to_k_ip.weight"`` and ``"{i}.to_v_ip.weight"``, where i counts
    all attention layers in the order of ``unet.attn_processors``; `attention_shapes` says which there must be.
    """
    names = list(unet.attn_processors)
    levels = len(unet.config.block_out_channels)
    unet.set_attn_processor(
        {
            name: FaceAttention(_below(weights, index), _level(name, levels)) if _is_cross(name) else SelfAttention()
            for index, name in enumerate(names)
        }
    )


def cross_attention(unet: UNet2DConditionModel) -> dict[int, Attention]:
    """Return the cross-attention layers, by their place among all attention layers."""
    names = enumerate(unet.attn_processors)
    return {index: unet.get_submodule(name.removesuffix(".processor")) for index, name in names if _is_cross(name)}


def attention_shapes(unet: UNet2DConditionModel) -> dict[str, tuple[int, int]]:
    """Return the shapes of the weights that `add_face_attention` needs, by their published keys."""
    return {
        f"{index}.{kind}.weight": (layer.to_k.out_features, layer.to_k.in_features)
        for index, layer in cross_attention(unet).items()
        for kind in ("to_k_ip", "to_v_ip")
    }


def published_keys(projections: Mapping[int, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the keys' and values' projections of the layers of `cross_attention` as ``ip-adapter.bin`` names them."""
    weights = {}
    for index, (key, value) in projections.items():
        weights[f"{index}.to_k_ip.weight"] = key
        weights[f"{index}.to_v_ip.weight"] = value
    return weights


def _is_cross(name: str) -> bool:
    return name.endswith("attn2.processor")


def _below(weights: Mapping[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    return {kind: weights[f"{index}.{kind}"] for kind in ("to_k_ip.weight", "to_v_ip.weight")}


def _level(name: str, levels: int) -> int:
    """How often the plane was halved where processor ``name`` works."""
    part, index, *_ = name.split(".")
    if part == "down_blocks":
        return int(index)
    return levels - 1 - int(index) if part == "up_blocks" else levels - 1
