"""A transformers depth-estimation model (Depth Anything, DPT, GLPN)."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    DepthAnythingForDepthEstimation,
    DPTForDepthEstimation,
    GLPNForDepthEstimation,
    PreTrainedModel,
)
from transformers.models.depth_anything.modeling_depth_anything import DepthAnythingDepthEstimationHead

from ..checkpoint.files import read_object
from ..errors import CheckpointError

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
