"""Renders a scene to a picture and its ground truth."""

from dataclasses import dataclass

import numpy as np

from .background import draw_background
from .body import draw_body
from .canvas import Canvas
from .frame import HeadFrame
from .hair import draw_beard, draw_hair_above, draw_hair_behind
from .head import draw_features, draw_skin
from .scene import Scene
from .styles import apply_flaw, apply_style


@dataclass(frozen=True)
class Rendered:
    """A picture and its ground truth; N people in the order of the scene."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    keypoints: np.ndarray
    """(N, 5, 2) float32 pixels in SCRFD's order: viewer's left eye, right eye, nose, left and right mouth corner."""
    face_boxes: np.ndarray
    """(N, 4) float32 pixels x1, y1, x2, y2, forehead to chin."""
    depth: np.ndarray
    """(H, W) float32 in [0, 1], near is bright."""


def render(scene: Scene, height_px: int, width_px: int) -> Rendered:
    """Draw ``scene``."""
    canvas = Canvas(height_px, width_px)
    draw_background(canvas, scene.background)
    frames = [HeadFrame(person.identity, person.pose, height_px, width_px) for person in scene.people]
    for frame, person in zip(frames, scene.people, strict=True):
        draw_hair_behind(canvas, frame)
        draw_body(canvas, frame, person.clothes)
        draw_skin(canvas, frame)
        draw_beard(canvas, frame)
        draw_features(canvas, frame)
        draw_hair_above(canvas, frame)
    return Rendered(
        image=apply_flaw(apply_style(canvas.image, scene.style), scene.flaw, scene.background.seed),
        keypoints=np.array([frame.keypoints() for frame in frames], np.float32).reshape(-1, 5, 2),
        face_boxes=np.array([frame.face_box() for frame in frames], np.float32).reshape(-1, 4),
        depth=canvas.depth,
    )
