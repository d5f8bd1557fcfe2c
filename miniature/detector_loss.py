"""The face detector's loss: which anchor is matched to which face, and its error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .detector import ANCHOR_SIZES_PX, STRIDES, Level
from .detector_pictures import Faces

_RADIUS = 0.2
"""An anchor is matched to a face if it is this close to the face's centre, in sizes of the face …"""
_NEAR_FACTOR = 1.6
"""… and its size is at most so many times larger or smaller."""
_BOX_WEIGHT, _KEYPOINT_WEIGHT = 3.0, 8.0


@dataclass(frozen=True)
class Anchors:
    """All anchors of a square picture, in the order of `Level`: ``centres`` (N, 2) and ``sizes`` (N) in pixels."""

    centres: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, side_px: int) -> "Anchors":
        """Lay out the anchors of all strides, one stride after the other."""
        centres, sizes = [], []
        for stride, both in zip(STRIDES, ANCHOR_SIZES_PX, strict=True):
            y, x = np.mgrid[: side_px // stride, : side_px // stride] * stride
            corners = np.stack([x, y], axis=-1).reshape(-1, 2)
            centres.append(np.repeat(corners, len(both), axis=0))
            sizes.append(np.tile(both, len(corners)))
        return cls(np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32))

    def match(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the matched anchors, and for each the index of its face in ``boxes`` (N, 4).

        If no anchor is close enough, the closest one of the right size is matched.
        """
        if len(boxes) == 0:
            return np.zeros(0, int), np.zeros(0, int)
        extent = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        middle = (boxes[:, 2:] + boxes[:, :2]) / 2
        distance = np.linalg.norm(self.centres[:, None] - middle, axis=-1) / extent
        mismatch = np.abs(np.log(self.sizes[:, None] / extent))
        distance[mismatch > np.maximum(np.log(_NEAR_FACTOR), mismatch.min(axis=0))] = np.inf
        close = distance <= np.maximum(_RADIUS, distance.min(axis=0))
        anchors = np.flatnonzero(close.any(axis=1))
        return anchors, np.where(close, distance, np.inf)[anchors].argmin(axis=1)


def detection_loss(levels: list[Level], faces: Sequence[Faces], side_px: int) -> torch.Tensor:
    """Return the focal loss of the scores plus the smooth L1 losses of boxes and keypoints, per matched anchor."""
    grid = Anchors.of(side_px)
    matches = [(row, *grid.match(truth.boxes)) for row, truth in enumerate(faces)]
    rows = np.concatenate([np.full(len(anchors), row) for row, anchors, _ in matches])
    anchors = np.concatenate([anchors for _, anchors, _ in matches])
    count = max(len(anchors), 1)
    logits = torch.cat([level.logits for level in levels], dim=1)
    targets = torch.zeros_like(logits)
    targets[rows, anchors] = 1
    boxes = torch.cat([level.boxes for level in levels], dim=1)[rows, anchors]
    keypoints = torch.cat([level.keypoints for level in levels], dim=1)[rows, anchors]
    edges, points = (part.to(boxes.device) for part in _distances(grid, faces, matches))
    return (
        _focal_loss(logits, targets)
        + _BOX_WEIGHT * F.smooth_l1_loss(boxes, edges, beta=0.05, reduction="sum") / 4
        + _KEYPOINT_WEIGHT * F.smooth_l1_loss(keypoints, points, beta=0.05, reduction="sum") / 10
    ) / count


def _distances(
    grid: Anchors, faces: Sequence[Faces], matches: list[tuple[int, np.ndarray, np.ndarray]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each matched anchor's distances to the box's edges (N, 4) and keypoints (N, 10), in anchor sizes."""
    edges, points = [np.zeros((0, 4))], [np.zeros((0, 10))]
    for row, anchors, owners in matches:
        origin, size = grid.centres[anchors], grid.sizes[anchors, None]
        box, keypoints = faces[row].boxes[owners], faces[row].keypoints[owners]
        edges.append(np.concatenate([origin - box[:, :2], box[:, 2:] - origin], axis=1) / size)
        points.append((keypoints - origin[:, None]).reshape(-1, 10) / size)
    as_tensor = [torch.from_numpy(np.concatenate(parts)).float() for parts in (edges, points)]
    return as_tensor[0], as_tensor[1]


def _focal_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed focal loss (arXiv:1708.02002) with γ = 2 and both classes weighted alike."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return ((targets - logits.sigmoid()).abs() ** 2 * entropy).sum()
