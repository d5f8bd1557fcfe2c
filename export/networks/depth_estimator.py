"""A transformers depth-estimation model (Depth Anything, DPT, GLPN)."""

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    DepthAnythingForDepthEstimation,
    DPTForDepthEstimation,
    GLPNForDepthEstimation,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.depth_anything.modeling_depth_anything import DepthAnythingDepthEstimationHead

from ..checkpoint.files import first_line, read_object
from ..depth import SUPPORTED
from ..errors import CheckpointError
from .loading import transformers_config

_MODELS: dict[str, type[PreTrainedModel]] = {
    "dpt": DPTForDepthEstimation,
    "depth_anything": DepthAnythingForDepthEstimation,
    "glpn": GLPNForDepthEstimation,
}
"""By ``model_type``, the families whose engine this module's interface fits."""


def depth_model(folder: Path) -> type[PreTrainedModel]:
    """Return the class of ``folder``'s network; raises `CheckpointError` for a family that is not supported."""
    path = folder / "config.json"
    family = read_object(path).get("model_type")
    if not isinstance(family, str) or family not in _MODELS:
        raise CheckpointError(f"{path}: model_type is {family!r}; the supported families are {', '.join(_MODELS)}")
    return _MODELS[family]


def check_picture_sizes(folder: Path, sizes: Iterable[tuple[int, int]]) -> None:
    """Raise `CheckpointError` for the first of ``sizes``, (height, width) in pixels, that the network does not take.

    It runs on the meta device: shapes alone, no weights.
    """
    kind = depth_model(folder)
    config = transformers_config(kind, folder)
    network = _without_weights(kind, folder, config)
    for height, width in sorted(sizes):
        if reason := _refusal(network, height, width):
            raise CheckpointError(
                f"{folder / 'preprocessor_config.json'}: makes {height}×{width} of a picture, which the network of "
                f"{folder / 'config.json'} does not take ({reason}); {_needed_size(network, config)}"
            )


def _without_weights(kind: type[PreTrainedModel], folder: Path, config: PreTrainedConfig) -> PreTrainedModel:
    try:
        with torch.device("meta"):
            return kind(config).eval()
    except Exception as error:
        raise CheckpointError(f"{folder / 'config.json'} describes no {kind.__name__}: {first_line(error)}") from error


def _refusal(network: PreTrainedModel, height: int, width: int) -> str | None:
    try:
        with torch.no_grad():
            network(torch.empty(1, 3, height, width, device="meta"))
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        return first_line(error)
    return None


def _needed_size(network: PreTrainedModel, config: PreTrainedConfig) -> str:
    sides = [getattr(part, "image_size", None) for part in (getattr(config, "backbone_config", None), config)]
    side = next((side for side in sides if side), None)
    if isinstance(side, int) and _refusal(network, side, side) is None:
        return f'{side}×{side} is needed: "size": {side} and "keep_aspect_ratio": false'
    return f"supported are {SUPPORTED}"


class DepthEstimator(nn.Module):
    """pixel_values (B, 3, h, w), normalised as the checkpoint's processor says → predicted_depth (B, h', w')."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        if isinstance(model, DepthAnythingForDepthEstimation):
            model.head = _AnySizeHead(model.head)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """pixel_values (B, 3, h, w) → predicted_depth (B, h', w'), as the checkpoint means it: see `Facts`."""
        return self.model(pixel_values).predicted_depth


class _AnySizeHead(nn.Module):
    """Depth Anything's head. Its own ``forward`` takes the size through ``int``, which an export freezes."""

    def __init__(self, head: DepthAnythingDepthEstimationHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden_states: list[torch.Tensor], patch_height: int, patch_width: int) -> torch.Tensor:
        """Feature maps, the last one (B, C, ·, ·) → (B, h, w), h and w being that many patches."""
        head = self.head
        size = (patch_height * head.patch_size, patch_width * head.patch_size)
        features = head.conv1(hidden_states[head.head_in_index])
        features = F.interpolate(features, size, mode="bilinear", align_corners=True)
        depth = head.conv3(head.activation1(head.conv2(features)))
        return (head.activation2(depth) * head.max_depth).squeeze(1)
