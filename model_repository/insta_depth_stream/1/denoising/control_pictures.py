"""The ControlNets' conditioning pictures, made from what the pose picture shows."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from insta_depth_shared.bls import Array

from .networks import Face


@dataclass(frozen=True)
class Pose:
    """What a request's pose picture shows, at the size of the picture to come."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB"""
    face: Face | None
    depth: torch.Tensor
    """(3, H, W) in [0, 1], near = 1; see `depth_picture`"""


COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
"""RGB of the five points in SCRFD's order: left eye, right eye, nose, mouth's left and right corner."""
NOSE = 2
LIMB_ENDS = (0, 1, 3, 4)
LIMB_HALF_WIDTH_PX = 4
POINT_RADIUS_PX = 10
LIMB_BRIGHTNESS = 0.6


def keypoints_picture(pose: Pose) -> np.ndarray:
    """Return the pose's face as IdentityNet reads it, (3, H, W) float32 RGB in [0, 1]; black without one."""
    height_px, width_px = pose.image.shape[:2]
    if pose.face is None:
        return np.zeros((3, height_px, width_px), np.float32)
    drawing = draw_face_keypoints(pose.face.keypoints, height_px, width_px)
    return drawing.transpose(2, 0, 1).astype(np.float32) / 255


def draw_face_keypoints(keypoints: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """Draw ``keypoints``, (5, 2) x, y in pixels, as IdentityNet learnt to read them: (H, W, 3) uint8 RGB."""
    canvas = np.zeros((height_px, width_px, 3))
    for index in LIMB_ENDS:
        cv2.fillConvexPoly(canvas, _limb(keypoints[index], keypoints[NOSE]), COLOURS[index])
    drawing = (canvas * LIMB_BRIGHTNESS).astype(np.uint8)
    for (x, y), colour in zip(keypoints, COLOURS, strict=True):
        cv2.circle(drawing, (int(x), int(y)), POINT_RADIUS_PX, colour, thickness=-1)
    return drawing


def _limb(point: np.ndarray, nose: np.ndarray) -> np.ndarray:
    x, y = point - nose
    centre_x, centre_y = (point + nose) / 2
    half_axes = (int((x**2 + y**2) ** 0.5 / 2), LIMB_HALF_WIDTH_PX)
    angle = int(math.degrees(math.atan2(y, x)))
    return np.asarray(cv2.ellipse2Poly((int(centre_x), int(centre_y)), half_axes, angle, 0, 360, 1))


NEAREST_M, FARTHEST_M = 0.1, 250.0
"""Distances outside are taken for these, as Depth Pro's own command line does (apple/ml-depth-pro)."""


def depth_picture(
    predicted_depth: torch.Tensor, height_px: int, width_px: int, is_distance: bool = False
) -> torch.Tensor:
    """Return (3, H, W) float32 in [0, 1], near = 1, from the estimator's (1, h, w) of any float type.

    ``is_distance``: the prediction is in metres, else it is inverse depth. ControlNet-Depth learnt from MiDaS's
    inverse depth, up to scale and shift, so that distances are inverted rather than subtracted.
    A flat prediction, which has no nearest point, gives zeros. The result lies where the prediction does.
    """
    depth = predicted_depth.float()
    if is_distance:
        depth = 1 / depth.clamp(NEAREST_M, FARTHEST_M)
    # Asked before resizing, which adds rounding noise, and without waiting for the device to answer.
    is_flat = depth.amin() == depth.amax()
    size = (height_px, width_px)
    resized = torch.nn.functional.interpolate(depth[None], size, mode="bicubic", align_corners=False)[0, 0]
    low, high = resized.amin(), resized.amax()
    near = torch.where(is_flat, 0.0, (resized - low) / (high - low))
    return near.expand(3, *size)


CONTROL_PICTURES: Mapping[str, Callable[[Pose], Array]] = {
    "face_keypoints": keypoints_picture,
    "depth": lambda pose: pose.depth,
}
"""The picture of each ControlNet, (3, H, W) in [0, 1], by its name among the inputs of ``denoise_step``."""
