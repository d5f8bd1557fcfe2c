"""Draws hair, behind and on the head, and beards."""

import numpy as np

from .canvas import Canvas, ellipse, rounded
from .colours import darker, lighter
from .frame import HALF_HEIGHT, HeadFrame

_BEHIND, _ABOVE = 0.56, 0.7
_VOLUME = {"short": 1.06, "long": 1.08, "bob": 1.1, "bun": 1.05, "curly": 1.06}
# The hairline's height by longitude, from the middle of the forehead to the back of the head.
_LONGITUDES_DEG = [-180, -95, -72, -52, -18, 20, 55, 72, 95, 180]
_HAIRLINES = {
    "short": [0.3, 0.1, 0.02, -0.2, -0.3, -0.28, -0.18, 0.02, 0.1, 0.3],
    "long": [0.4, 0.3, 0.2, -0.06, -0.34, -0.22, -0.06, 0.2, 0.3, 0.4],
    "bob": [0.35, 0.25, 0.2, -0.13, -0.17, -0.17, -0.13, 0.2, 0.25, 0.35],
    "bun": [0.2, 0.02, -0.08, -0.26, -0.33, -0.33, -0.26, -0.08, 0.02, 0.2],
    "curly": [0.3, 0.1, 0.0, -0.2, -0.26, -0.26, -0.2, 0.0, 0.1, 0.3],
}
_BEARD_TOP = [0.1, 0.06, 0.1, 0.27, 0.22, 0.22, 0.27, 0.1, 0.06, 0.1]


def draw_hair_behind(canvas: Canvas, frame: HeadFrame) -> None:
    """Draw the hair that hangs or stands behind head and neck."""
    style, colour = frame.identity.hair_style, darker(frame.identity.hair, 0.22)
    width = frame.identity.half_width
    if style == "long":
        fall = [(-width, -0.4), (width, -0.4), (width + 0.12, 0.3), (width + 0.2, 1.0), (-width - 0.2, 1.0)]
        canvas.fill(frame.flat(rounded([*fall, (-width - 0.12, 0.3)])), colour, _BEHIND)
    if style == "bob":
        fall = [(-width, -0.4), (width, -0.4), (width + 0.16, 0.1), (width + 0.14, 0.48), (-width - 0.14, 0.48)]
        canvas.fill(frame.flat(rounded([*fall, (-width - 0.16, 0.1)])), colour, _BEHIND)
    if style == "bun":
        x = -0.3 * np.sin(frame.yaw)
        canvas.fill(frame.flat(ellipse(x, -0.58, 0.19, 0.17)), frame.identity.hair, _BEHIND)
        canvas.fill(frame.flat(ellipse(x - 0.05, -0.62, 0.07, 0.05)), lighter(frame.identity.hair, 0.2))
    if style == "curly":
        for angle in np.radians(np.linspace(155, 385, 12)):
            x, y = (width + 0.05) * np.cos(angle), -0.12 + 0.47 * np.sin(angle)
            canvas.fill(frame.flat(ellipse(x, y, 0.15, 0.15, 18)), colour, _BEHIND)


def draw_hair_above(canvas: Canvas, frame: HeadFrame) -> None:
    """Draw the hair on the head, down to the hairline."""
    style, colour = frame.identity.hair_style, frame.identity.hair
    if style == "bald":
        return
    canvas.fill(frame.flat(_cap(frame)), colour, _ABOVE)
    if style == "curly":
        for angle in np.radians(np.linspace(190, 350, 8)):
            x, y = 0.9 * frame.identity.half_width * np.cos(angle), 0.42 * np.sin(angle) - 0.02
            canvas.fill(frame.flat(ellipse(x, y, 0.12, 0.11, 18)), colour, _ABOVE)
    shine = np.linspace(-2.2, -1.4, 10)
    line = np.stack([0.8 * frame.identity.half_width * np.cos(shine), 0.43 * np.sin(shine)], axis=1)
    canvas.stroke(frame.flat(line), lighter(colour, 0.2), 0.035 * frame.unit_px)


def draw_beard(canvas: Canvas, frame: HeadFrame) -> None:
    """Draw a full beard, where the identity has one."""
    if frame.identity.beard:
        edge = _curve(frame, _BEARD_TOP, 1.0)
        jaw = frame.outline(edge[0, 1])
        chin = jaw[jaw[:, 1] > max(edge[0, 1], edge[-1, 1])] * [1.02, 1.03]
        canvas.fill(frame.flat(np.concatenate([edge[::-1], chin])), frame.identity.hair)


def _cap(frame: HeadFrame) -> np.ndarray:
    """Return the hair's outline in head coordinates: along the hairline, back over the top."""
    style = frame.identity.hair_style
    volume = _VOLUME[style]
    hairline = _curve(frame, _HAIRLINES[style], volume)
    left_y, right_y = hairline[0, 1], hairline[-1, 1]
    angles = np.linspace(np.arcsin(right_y / HALF_HEIGHT), -np.pi - np.arcsin(left_y / HALF_HEIGHT), 40)
    y = HALF_HEIGHT * np.sin(angles)
    over = np.stack([frame.radius(y) * np.sign(np.cos(angles)), np.minimum(y, y * volume**2)], axis=1) * [volume, 1]
    return np.concatenate([hairline, over])


def _curve(frame: HeadFrame, heights: list[float], volume: float) -> np.ndarray:
    """Return a line around the visible half of the head (N, 2), from the viewer's left to the right."""
    seen = np.linspace(-np.pi / 2, np.pi / 2, 41)
    y = np.interp(np.degrees(seen - frame.yaw), _LONGITUDES_DEG, heights)
    return np.stack([volume * frame.radius(y) * np.sin(seen), y], axis=1)
