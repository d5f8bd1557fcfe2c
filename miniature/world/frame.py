"""A head's geometry: a body of revolution, rotated by yaw around its axis and by roll in the picture."""

from dataclasses import dataclass

import numpy as np

from .identity import Identity
from .scene import Pose

HALF_HEIGHT = 0.5
EYE_Y, NOSE_Y, MOUTH_Y = 0.03, 0.17, 0.3
_NOSE_LIFT = 0.09
_SMILE_LIFT = 0.05
_BOX_TOP = -0.36


@dataclass(frozen=True)
class HeadFrame:
    """From head coordinates to pixels.

    Head coordinates have the head's middle as origin and its height as unit: x to the viewer's right, y down.
    """

    identity: Identity
    pose: Pose
    height_px: int
    width_px: int

    @property
    def unit_px(self) -> float:
        """The head's height in pixels."""
        return self.pose.head_size * self.height_px

    @property
    def yaw(self) -> float:
        """Yaw in radians."""
        return float(np.radians(self.pose.yaw_deg))

    def radius(self, y: np.ndarray) -> np.ndarray:
        """Return the head's radius at height ``y``, any shape."""
        narrowing = 1 - self.identity.jaw * (np.maximum(y, 0) / HALF_HEIGHT) ** 2
        return self.identity.half_width * narrowing * np.sqrt(np.clip(1 - (y / HALF_HEIGHT) ** 2, 0, 1))

    def flat(self, points: np.ndarray, roll_share: float = 1.0) -> np.ndarray:
        """Return pixels (N, 2) of ``points`` (N, 2) in the plane of the picture, which yaw does not move."""
        angle = np.radians(self.pose.roll_deg * roll_share)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.array([self.pose.centre_x * self.width_px, self.pose.centre_y * self.height_px])
        return middle + self.unit_px * np.asarray(points) @ rotation.T

    def on_face(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Return pixels (N, 2) of ``points`` (N, 2), given as seen from the front, ``lift`` above the skin."""
        x, y = np.asarray(points, float).T
        radius = np.maximum(self.radius(y), 1e-3)
        longitude = np.arcsin(np.clip(x / radius, -1, 1)) + self.yaw
        return self.flat(np.stack([(radius + lift) * np.sin(longitude), y], axis=1))

    def facing(self, x: float) -> bool:
        """Whether a spot at ``x`` at eye height, given as seen from the front, is well in view."""
        radius = self.radius(np.array(EYE_Y))
        return bool(np.cos(np.arcsin(np.clip(x / radius, -1, 1)) + self.yaw) > 0.1)

    def outline(self, top: float = -HALF_HEIGHT) -> np.ndarray:
        """Return the silhouette (N, 2) in head coordinates, from the viewer's left over the chin; ``top`` cuts it."""
        y = HALF_HEIGHT * np.sin(np.linspace(np.arcsin(top / HALF_HEIGHT), np.pi / 2, 40))
        right = np.stack([self.radius(y), y], axis=1)
        return np.concatenate([right * [-1, 1], right[::-1]])

    def keypoints(self) -> np.ndarray:
        """Return (5, 2) float32 pixels: viewer's left eye, right eye, nose, left and right mouth corner."""
        who, corner_y = self.identity, mouth_corner_y(self.pose.smile)
        eyes = self.on_face(np.array([[-who.eye_spacing, EYE_Y], [who.eye_spacing, EYE_Y]]))
        nose = self.on_face(np.array([[0.0, NOSE_Y]]), lift=_NOSE_LIFT)
        mouth = self.on_face(np.array([[-who.mouth_width, corner_y], [who.mouth_width, corner_y]]))
        return np.concatenate([eyes, nose, mouth]).astype(np.float32)

    def face_box(self) -> np.ndarray:
        """Return (4,) float32 pixels x1, y1, x2, y2, forehead to chin, clipped to the picture."""
        skin = self.flat(self.outline(_BOX_TOP))
        size = [self.width_px, self.height_px]
        return np.concatenate([skin.min(0).clip(0, size), skin.max(0).clip(0, size)]).astype(np.float32)


def mouth_corner_y(smile: float) -> float:
    """Return the height of the mouth's corners."""
    return MOUTH_Y - _SMILE_LIFT * (smile - 0.3)
