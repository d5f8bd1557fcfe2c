"""Which networks are measured: SDXL's published sizes, its widths with one block a layer, or all in tiny."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..sdxl_checkpoint import CONTROLNET, CONTROLNET_SMALL, DEPTH_ANYTHING_SMALL, UNET, VAE

Config = dict[str, Any]
DEPTH_NETS = ("full", "small")

_TINY: Config = {
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 1,
    "transformer_layers_per_block": [1, 1, 1],
    "attention_head_dim": [1, 2, 2],
    "norm_num_groups": 16,
    "cross_attention_dim": 64,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 32 + 6 * 8,
}
_TINY_CONDITION: Config = {"conditioning_embedding_out_channels": [8, 8, 16, 16]}
_ONE_BLOCK: Config = {"layers_per_block": 1, "transformer_layers_per_block": [1, 1, 1]}
_NO_LAYERS: Config = {"transformer_layers_per_block": [0, 0, 0]}
_TINY_BACKBONE: Config = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 112,
    "out_indices": [1, 2, 3, 4],
}
_TINY_DEPTH: Config = {
    "backbone_config": DEPTH_ANYTHING_SMALL["backbone_config"] | _TINY_BACKBONE,
    "reassemble_hidden_size": 16,
    "neck_hidden_sizes": [4, 8, 8, 8],
    "fusion_hidden_size": 8,
    "head_hidden_size": 4,
}
_UPRIGHT = {"depth_height": 49, "depth_width": 37}
"""Patches of 14 pixels, as Depth Anything's processor makes of an upright picture of 4:3."""


@dataclass(frozen=True)
class Size:
    """Configs of the networks, and the step's sizes under the engine table's symbols."""

    unet: Config
    identitynet: Config
    depth_nets: Mapping[str, Config]
    vae: Config
    depth_estimator: Config
    text_widths: tuple[int, int]
    pooled_width: int
    step: Mapping[str, int]


SIZES: Mapping[str, Size] = {
    "full": Size(
        unet=UNET,
        identitynet=CONTROLNET,
        depth_nets={"full": CONTROLNET, "small": CONTROLNET_SMALL},
        vae=VAE,
        depth_estimator=DEPTH_ANYTHING_SMALL,
        text_widths=(768, 1280),
        pooled_width=1280,
        step={"rows": 2, "height": 16, "width": 16, "tokens": 77, **_UPRIGHT},
    ),
    "widths": Size(
        unet=UNET | _ONE_BLOCK,
        identitynet=CONTROLNET | _ONE_BLOCK,
        depth_nets={"full": CONTROLNET | _ONE_BLOCK, "small": CONTROLNET_SMALL},
        vae=VAE | {"layers_per_block": 1},
        depth_estimator=DEPTH_ANYTHING_SMALL,
        text_widths=(768, 1280),
        pooled_width=1280,
        step={"rows": 2, "height": 16, "width": 16, "tokens": 77, **_UPRIGHT},
    ),
    "tiny": Size(
        unet=UNET | _TINY,
        identitynet=CONTROLNET | _TINY | _TINY_CONDITION,
        depth_nets={
            "full": CONTROLNET | _TINY | _TINY_CONDITION,
            "small": CONTROLNET_SMALL | _TINY | _TINY_CONDITION | _NO_LAYERS,
        },
        vae=VAE | {"block_out_channels": [16, 16, 32, 32], "norm_num_groups": 16},
        depth_estimator=_TINY_DEPTH,
        text_widths=(32, 32),
        pooled_width=32,
        step={"rows": 2, "height": 2, "width": 2, "tokens": 77, "depth_height": 8, "depth_width": 8},
    ),
}
"""A guided pair at 1024 × 1024 pixels; in tiny at 128 × 128.

``widths`` has the kernels of ``full``, and its plans are built in minutes.
"""
