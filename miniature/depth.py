"""The depth folder: a small transformers depth-estimation network and its preprocessing."""

from pathlib import Path

import torch
from torch import nn
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    PreTrainedModel,
)

from .architecture import CheckpointConfig, DepthConfig
from .random_weights import seeded, spread

_GAIN = 1.3
_DEPTH_OFFSET = 4.0
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def write_depth(folder: Path, config: CheckpointConfig, seed: int) -> None:
    """Write the network and ``preprocessor_config.json``."""
    with seeded(seed):
        network = build_depth(config.depth).eval()
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                spread(layer, _GAIN)
        _calibrate(network, config.depth.image_size)
    network.save_pretrained(folder)
    build_processor(config.depth).save_pretrained(folder)


def build_depth(part: DepthConfig) -> PreTrainedModel:
    """Return the network as transformers initialises it."""
    return {"dpt": _build_dpt, "depth_anything": _build_depth_anything}[part.kind](part)


@torch.no_grad()
def _calibrate(network: PreTrainedModel, side_px: int) -> None:
    """Scale depth maps to a deviation of 1 around `_DEPTH_OFFSET`.

    The head ends in a ReLU: an untrained one would clip much of every map to zero.
    """
    last = [module for module in network.head.modules() if isinstance(module, nn.Conv2d)][-1]
    seen: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda _, __, output: seen.append(output))
    network(nn.functional.interpolate(torch.randn(4, 3, 6, 6), (side_px, side_px), mode="bilinear"))
    hook.remove()
    last.weight /= seen[0].std()
    last.get_parameter("bias").fill_(_DEPTH_OFFSET - seen[0].mean() / seen[0].std())


def _build_dpt(part: DepthConfig) -> PreTrainedModel:
    config = DPTConfig(
        hidden_size=part.hidden_size,
        num_hidden_layers=part.layers,
        num_attention_heads=part.heads,
        intermediate_size=4 * part.hidden_size,
        image_size=part.image_size,
        backbone_out_indices=list(range(part.layers - 4, part.layers)),
        neck_hidden_sizes=list(part.neck_sizes),
        fusion_hidden_size=part.fusion_size,
        use_auxiliary_head=False,
    )
    return DPTForDepthEstimation(config)


def _build_depth_anything(part: DepthConfig) -> PreTrainedModel:
    backbone = Dinov2Config(
        hidden_size=part.hidden_size,
        num_hidden_layers=part.layers,
        num_attention_heads=part.heads,
        image_size=part.image_size,
        patch_size=14,
        out_indices=list(range(part.layers - 3, part.layers + 1)),
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=part.hidden_size,
        neck_hidden_sizes=list(part.neck_sizes),
        fusion_hidden_size=part.fusion_size,
    )
    return DepthAnythingForDepthEstimation(config)


def build_processor(part: DepthConfig) -> DPTImageProcessor:
    """Return the image processor."""
    anything = part.kind == "depth_anything"
    return DPTImageProcessor(
        size={"height": part.image_size, "width": part.image_size},
        keep_aspect_ratio=anything,
        ensure_multiple_of=14 if anything else 1,
        **(_IMAGENET if anything else _HALVES),
    )
