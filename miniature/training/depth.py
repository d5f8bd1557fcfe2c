"""The depth estimator: predicts the renderer's depth from a picture."""

from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from ..architecture import DepthConfig
from ..pixels import tiles, to_model
from .loop import Batch, Schedule, Stage
from .pictures import Arrays, TrainingPictures, load_all

_UNIT = 4.0
"""Depth of the nearest point, in the network's units: the head ends in a ReLU, which needs a margin."""
_EDGES = 0.5
_INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


class DepthStage(Stage):
    """Absolute error of the depth and of its gradients, on pictures from the processor."""

    name = "depth"

    def __init__(
        self, network: PreTrainedModel, config: DepthConfig, pictures: TrainingPictures, schedule: Schedule
    ) -> None:
        self.network, self.schedule, self._drawn = network, schedule, pictures
        self._side_px = config.image_size

    @cached_property
    def _parts(self) -> list[Arrays]:
        return [
            {name: array[~part["bent"]] for name, array in part.items()}
            for part in load_all(self._drawn, "image", "depth", "bent")
        ]

    @property
    def trained(self) -> nn.Module:
        """The whole network."""
        return self.network

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return ``image`` (B, 3, S, S) and ``depth`` (B, S, S), uint8, at the network's size."""
        images, depths = [], []
        for index in rng.integers(len(self._parts), size=self.schedule.batch):
            part = self._parts[index]
            chosen = rng.integers(len(part["image"]))
            images.append(self._resized(part["image"][chosen], int(rng.choice(_INTERPOLATIONS))))
            depths.append(self._resized(part["depth"][chosen], cv2.INTER_AREA))
        image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return {"image": image, "depth": torch.from_numpy(np.stack(depths))}

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return both terms."""
        depth = _UNIT * batch["depth"].float() / 255
        predicted = self._predict(batch["image"])
        edges = [(predicted.diff(dim=axis) - depth.diff(dim=axis)).abs().mean() for axis in (1, 2)]
        return {"depth": (predicted - depth).abs().mean(), "edges": _EDGES * sum(edges)}

    def sheet(self) -> np.ndarray:
        """Return pictures, the network's depth, and the ground truth."""
        batch = {name: tensor[:12] for name, tensor in self.batch(np.random.default_rng(0)).items()}
        batch = {name: tensor.to(self.network.device) for name, tensor in batch.items()}
        seen = (self._predict(batch["image"]) * 255 / _UNIT).clamp(0, 255).to(torch.uint8)
        maps = torch.cat([seen, batch["depth"]])[:, None].expand(-1, 3, -1, -1)
        return tiles(torch.cat([batch["image"], maps]), columns=len(seen))

    def _resized(self, image: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.resize(image, (self._side_px, self._side_px), interpolation=interpolation)

    def _predict(self, image: torch.Tensor) -> torch.Tensor:
        predicted = self.network(to_model(image)).predicted_depth.float()
        return F.interpolate(predicted[:, None], image.shape[-2:], mode="area")[:, 0]


@torch.no_grad()
def estimate(network: PreTrainedModel, config: DepthConfig, images: np.ndarray) -> np.ndarray:
    """Return depth pictures (N, H, W) uint8, near is bright, of (N, H, W, 3) uint8 RGB.

    In a request the checkpoint's processor resizes pictures, not OpenCV.
    """
    height, width = images.shape[1:3]
    size = (config.image_size, config.image_size)
    small = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) for image in images])
    maps = []
    for chunk in torch.from_numpy(small).permute(0, 3, 1, 2).split(128):
        depth = network(to_model(chunk.to(network.device))).predicted_depth.float()
        depth = F.interpolate(depth[:, None], (height, width), mode="bicubic")[:, 0]
        low, high = depth.amin((1, 2), keepdim=True), depth.amax((1, 2), keepdim=True)
        maps.append((255 * (depth - low) / (high - low).clamp(min=1e-6)).round().to(torch.uint8).cpu())
    return torch.cat(maps).numpy()
