"""Detected faces."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Faces:
    """Faces of one picture, in its pixels.

    ``boxes``: (N, 5) float32, x1, y1, x2, y2 and the score. ``keypoints``: (N, 5, 2) float32, x, y: left eye,
    right eye, nose, left and right corner of the mouth, as seen with the face upright.
    """

    boxes: np.ndarray
    keypoints: np.ndarray

    @classmethod
    def none(cls) -> "Faces":
        """Return an empty result."""
        return cls(np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def areas(self) -> np.ndarray:
        """(N,) float32 in square pixels."""
        sides = self.boxes[:, 2:4] - self.boxes[:, :2]
        return sides[:, 0] * sides[:, 1]

    @property
    def largest(self) -> int:
        """Index of the face with the largest box; the last of equal ones, as the published pipeline sorts them."""
        return len(self) - 1 - int(np.argmax(self.areas[::-1]))

    def pick(self, which: np.ndarray) -> "Faces":
        """Return the faces that ``which``, indices or a mask, selects."""
        return Faces(self.boxes[which], self.keypoints[which])

    def __add__(self, other: "Faces") -> "Faces":
        return Faces(np.concatenate([self.boxes, other.boxes]), np.concatenate([self.keypoints, other.keypoints]))

    def moved(self, x: float, y: float) -> "Faces":
        """Return the faces in a larger picture in which theirs lies at (x, y)."""
        return Faces(self.boxes + np.array([x, y, x, y, 0], np.float32), self.keypoints + np.array([x, y], np.float32))

    def scaled(self, factor: float) -> "Faces":
        """Return the faces in the picture enlarged by ``factor``."""
        return Faces(self.boxes * np.array([factor] * 4 + [1], np.float32), self.keypoints * np.float32(factor))

    def turned_back(self, quarter_turns: int, height_px: int, width_px: int) -> "Faces":
        """Return the faces, found after `numpy.rot90` by ``quarter_turns``, in the picture before the rotation.

        ``height_px``, ``width_px``: the size of that picture.
        """
        ends = self.boxes[:, :4].reshape(-1, 2, 2)
        corners = _turn_back(ends, quarter_turns, height_px, width_px)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1), self.boxes[:, 4:]], axis=1)
        return Faces(boxes, _turn_back(self.keypoints, quarter_turns, height_px, width_px))

    def rolls_deg(self) -> np.ndarray:
        """(N,) degrees in [-180, 180] by which each face leans clockwise; 0 where the mouth is below the eyes."""
        down = self.keypoints[:, 3:].mean(axis=1) - self.keypoints[:, :2].mean(axis=1)
        return np.degrees(np.arctan2(-down[:, 0], down[:, 1]))


def _turn_back(points: np.ndarray, quarter_turns: int, height_px: int, width_px: int) -> np.ndarray:
    """``points``: (..., 2) x, y."""
    x, y = points[..., 0], points[..., 1]
    right, bottom = np.float32(width_px - 1), np.float32(height_px - 1)
    before = ((x, y), (right - y, x), (right - x, bottom - y), (y, bottom - x))[quarter_turns % 4]
    return np.stack(before, axis=-1)
