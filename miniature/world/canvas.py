"""A picture and its depth map, drawn together, and the curves to draw with."""

from collections.abc import Sequence

import cv2
import numpy as np

from .colours import Colour

_SUBPIXEL_BITS = 4


class Canvas:
    """``image`` (H, W, 3) uint8 RGB and ``depth`` (H, W) float32 in [0, 1], near is bright."""

    def __init__(self, height_px: int, width_px: int) -> None:
        self.image = np.zeros((height_px, width_px, 3), np.uint8)
        self.depth = np.zeros((height_px, width_px), np.float32)

    @property
    def height_px(self) -> int:
        """Rows."""
        return self.image.shape[0]

    @property
    def width_px(self) -> int:
        """Columns."""
        return self.image.shape[1]

    def fill(self, points: np.ndarray, colour: Colour, depth: float | None = None) -> None:
        """Fill the polygon ``points`` (N, 2) in pixels; without ``depth`` the depth map stays."""
        corners = [_fixed_point(points)]
        cv2.fillPoly(self.image, corners, colour, cv2.LINE_AA, _SUBPIXEL_BITS)
        if depth is not None:
            cv2.fillPoly(self.depth, corners, (depth,), cv2.LINE_8, _SUBPIXEL_BITS)

    def stroke(self, points: np.ndarray, colour: Colour, thickness_px: float, closed: bool = False) -> None:
        """Draw a line through ``points`` (N, 2) in pixels."""
        thickness = max(1, round(thickness_px))
        cv2.polylines(self.image, [_fixed_point(points)], closed, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def ellipse(x: float, y: float, half_width: float, half_height: float, corners: int = 28) -> np.ndarray:
    """Return the outline of an ellipse as (corners, 2)."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + half_width * np.cos(angles), y + half_height * np.sin(angles)], axis=1)


def rounded(points: np.ndarray | Sequence[Sequence[float]], times: int = 3) -> np.ndarray:
    """Smooth a closed polygon (N, 2) by cutting its corners ``times`` times (Chaikin's curve)."""
    outline = np.asarray(points, float)
    for _ in range(times):
        following = np.roll(outline, -1, axis=0)
        cut = np.stack([0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], axis=1)
        outline = cut.reshape(-1, 2)
    return outline


def _fixed_point(points: np.ndarray) -> np.ndarray:
    # OpenCV's origin is the centre of the first pixel, ours is its corner.
    return np.round((np.asarray(points) - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
