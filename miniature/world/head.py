"""Draws the head: shaded skin, ears, and the features of the face."""

import numpy as np

from .canvas import Canvas, ellipse
from .colours import INK, WHITE, darker, lighter, mixed
from .frame import EYE_Y, HALF_HEIGHT, MOUTH_Y, NOSE_Y, HeadFrame, mouth_corner_y

_LIGHT = np.array([-0.45, -0.45, 0.77])
_SHADE = 0.3
_EDGE_DEPTH, _FRONT_DEPTH, _NOSE_DEPTH = 0.58, 0.9, 0.97


def draw_skin(canvas: Canvas, frame: HeadFrame) -> None:
    """Draw ears and the bare head, lit from the upper left."""
    for side in (-1, 1):
        _draw_ear(canvas, frame, side)
    outline = frame.flat(frame.outline())
    left, top = np.floor(outline.min(0) - 1).astype(int).clip(0)
    right, bottom = np.minimum(np.ceil(outline.max(0) + 1), [canvas.width_px, canvas.height_px]).astype(int)
    if left >= right or top >= bottom:
        return
    cover = Canvas(bottom - top, right - left)
    cover.fill(outline - [left, top], WHITE, 1.0)
    normals = _normals(frame, np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    area = np.s_[top:bottom, left:right]
    light = 1 - _SHADE * (1 - np.tensordot(_LIGHT, normals, 1)).clip(0, 1)[..., None]
    alpha = cover.image[..., :1] / np.float32(WHITE[0])
    canvas.image[area] = canvas.image[area] * (1 - alpha) + np.array(frame.identity.skin, np.float32) * light * alpha
    surface = _EDGE_DEPTH + (_FRONT_DEPTH - _EDGE_DEPTH) * normals[2]
    canvas.depth[area] = np.where(cover.depth > 0, surface, canvas.depth[area])


def _normals(frame: HeadFrame, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
    """Return the direction in which the skin faces, (3, rows, columns) float32."""
    across = (x_px - frame.pose.centre_x * frame.width_px)[None, :] / frame.unit_px
    down = (y_px - frame.pose.centre_y * frame.height_px)[:, None] / frame.unit_px
    roll = np.radians(frame.pose.roll_deg)
    x, y = np.cos(roll) * across + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * across
    x = np.clip(x / frame.identity.half_width, -1, 1)
    y = np.clip(y / HALF_HEIGHT, -1, 1)
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    length = np.sqrt(x**2 + y**2 + z**2)
    return (np.stack([x, y, z]) / length).astype(np.float32)


def _draw_ear(canvas: Canvas, frame: HeadFrame, side: int) -> None:
    x = side * (frame.identity.half_width + 0.015) * np.cos(frame.yaw)
    canvas.fill(frame.flat(ellipse(x, 0.07, 0.07, 0.11, 20)), darker(frame.identity.skin, 0.12), _EDGE_DEPTH)
    canvas.fill(frame.flat(ellipse(x, 0.07, 0.035, 0.065, 16)), darker(frame.identity.skin, 0.3))


def draw_features(canvas: Canvas, frame: HeadFrame) -> None:
    """Draw cheeks, freckles, nose, mouth, eyes, brows and glasses."""
    _draw_cheeks(canvas, frame)
    _draw_nose(canvas, frame)
    _draw_mouth(canvas, frame)
    for side in (-1, 1):
        if frame.facing(side * frame.identity.eye_spacing):
            _draw_eye(canvas, frame, side)
            _draw_brow(canvas, frame, side)
    _draw_glasses(canvas, frame)


def _draw_cheeks(canvas: Canvas, frame: HeadFrame) -> None:
    who = frame.identity
    for side in (-1, 1):
        x = side * (who.eye_spacing + 0.05)
        if not who.beard:
            canvas.fill(frame.on_face(ellipse(x, 0.19, 0.07, 0.05, 20)), mixed(who.skin, (230, 90, 90), 0.22))
        if who.freckles:
            for dx, dy in ((-0.05, -0.02), (0.0, 0.015), (0.04, -0.03), (-0.02, 0.04), (0.06, 0.02)):
                canvas.fill(frame.on_face(ellipse(x + dx, 0.15 + dy, 0.009, 0.009, 8)), darker(who.skin, 0.4))


def _draw_nose(canvas: Canvas, frame: HeadFrame) -> None:
    who, tip = frame.identity, frame.keypoints()[2]
    bridge = frame.on_face(np.array([[0.25 * who.nose_size, EYE_Y + 0.02]]), 0.04)
    wing = frame.on_face(np.array([[1.1 * who.nose_size, NOSE_Y + 0.03], [-0.8 * who.nose_size, NOSE_Y + 0.035]]))
    canvas.fill(np.concatenate([bridge, wing[:1], wing[1:], tip[None]]), darker(who.skin, 0.2))
    size_px = who.nose_size * frame.unit_px
    ball = ellipse(tip[0], tip[1], size_px, 0.75 * size_px, 20)
    canvas.fill(ball, mixed(darker(who.skin, 0.04), (230, 100, 90), 0.1), _NOSE_DEPTH)
    shine = ellipse(tip[0] - 0.3 * size_px, tip[1] - 0.3 * size_px, 0.3 * size_px, 0.3 * size_px, 12)
    canvas.fill(shine, lighter(who.skin, 0.35))


def _draw_mouth(canvas: Canvas, frame: HeadFrame) -> None:
    who, smile = frame.identity, frame.pose.smile
    corner = mouth_corner_y(smile)
    x = np.linspace(-1, 1, 17)
    arch = 1 - x**2
    middle = MOUTH_Y + 0.03 * (smile - 0.3)
    upper = corner + (middle - 0.012 - corner) * arch - 0.016 * np.sin(np.pi * np.abs(x)) * arch
    lower = corner + (middle + 0.03 + 0.045 * smile - corner) * arch
    outline = np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]]) * [who.mouth_width, 1]
    canvas.fill(frame.on_face(outline), who.lips)
    inner = corner + (middle + 0.012 - corner) * arch
    if smile > 0.5:
        gap = inner + 0.05 * (smile - 0.35) * arch
        teeth = np.concatenate([np.stack([x, inner], 1), np.stack([x, gap], 1)[::-1]]) * [0.85 * who.mouth_width, 1]
        canvas.fill(frame.on_face(teeth), WHITE)
    line = np.stack([x * who.mouth_width, inner], axis=1)
    canvas.stroke(frame.on_face(line), darker(who.lips, 0.55), 0.014 * frame.unit_px)


def _draw_eye(canvas: Canvas, frame: HeadFrame, side: int) -> None:
    who, x = frame.identity, side * frame.identity.eye_spacing
    size, iris = who.eye_size, 0.55 * who.eye_size
    canvas.fill(frame.on_face(ellipse(x, EYE_Y, size, 0.68 * size)), WHITE)
    canvas.fill(frame.on_face(ellipse(x, EYE_Y, iris, iris, 22)), who.eye)
    canvas.fill(frame.on_face(ellipse(x, EYE_Y, 0.5 * iris, 0.5 * iris, 16)), INK)
    canvas.fill(frame.on_face(ellipse(x - 0.45 * iris, EYE_Y - 0.5 * iris, 0.3 * iris, 0.3 * iris, 10)), WHITE)
    lid = ellipse(x, EYE_Y, 1.04 * size, 0.74 * size, 32)[16:]
    canvas.stroke(frame.on_face(lid), darker(who.skin, 0.75), 0.022 * frame.unit_px)
    if who.gender == "woman":
        lash = [[x + side * 0.9 * size, EYE_Y - 0.2 * size], [x + side * 1.7 * size, EYE_Y - 0.75 * size]]
        canvas.stroke(frame.on_face(np.array(lash)), INK, 0.028 * frame.unit_px)


def _draw_brow(canvas: Canvas, frame: HeadFrame, side: int) -> None:
    who = frame.identity
    across = np.linspace(-1, 1, 9)
    x = side * (who.eye_spacing + 0.01) + 1.2 * who.eye_size * across
    y = EYE_Y - 0.055 - who.eye_size + 0.022 * across**2
    thickness = who.brow_thickness * (1 - 0.5 * across**2)
    shape = np.concatenate([np.stack([x, y - thickness / 2], 1), np.stack([x, y + thickness / 2], 1)[::-1]])
    canvas.fill(frame.on_face(shape), darker(who.hair, 0.3))


def _draw_glasses(canvas: Canvas, frame: HeadFrame) -> None:
    who = frame.identity
    if who.glasses is None:
        return
    half = min(1.55 * who.eye_size, who.eye_spacing - 0.02)
    for side in (-1, 1):
        lens = frame.on_face(ellipse(side * who.eye_spacing, EYE_Y + 0.01, half, 0.85 * half), 0.02)
        canvas.stroke(lens, who.glasses, 0.028 * frame.unit_px, closed=True)
        temple = np.array([[side * (who.eye_spacing + half), EYE_Y], [side * (who.half_width - 0.005), EYE_Y - 0.01]])
        canvas.stroke(frame.on_face(temple, 0.01), who.glasses, 0.024 * frame.unit_px)
    bridge = np.array([[half - who.eye_spacing, EYE_Y], [0, EYE_Y - 0.02], [who.eye_spacing - half, EYE_Y]])
    canvas.stroke(frame.on_face(bridge, 0.03), who.glasses, 0.026 * frame.unit_px)
