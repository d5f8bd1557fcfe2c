"""Draws the body below a head: neck, torso, arms and clothes."""

from collections.abc import Callable

import numpy as np

from .canvas import Canvas, ellipse, rounded
from .colours import INK, WHITE, Colour, darker
from .frame import HALF_HEIGHT, HeadFrame
from .scene import Clothes

_GOLD: Colour = (246, 204, 60)
_SILVER: Colour = (206, 210, 216)
_CAPED = ("superhero suit", "Superman", "Batman")
_BARE_ARMED = ("dress", "Wonder Woman")
_CAPE_DEPTH, _TORSO_DEPTH, _ARM_DEPTH = 0.4, 0.52, 0.56
_SHOULDER, _FEET = 0.72, 2.4
"""Half the shoulders' width, and how far down the body is drawn, in heights of the head."""
_LEAN = 0.3
"""The body's roll as a share of the head's."""


class BodyFrame:
    """From body coordinates to pixels: origin at the chin, y down, unit = the head's height."""

    def __init__(self, head: HeadFrame) -> None:
        self.head = head
        self.unit_px = head.unit_px
        self._chin = head.flat(np.array([[0.0, HALF_HEIGHT * 0.85]]))[0]
        self._narrowing = 0.78 + 0.22 * np.cos(head.yaw)

    def place(self, points: np.ndarray | list[list[float]]) -> np.ndarray:
        """Return pixels (N, 2) of ``points`` (N, 2)."""
        own = self.head.flat(np.asarray(points, float) * [self._narrowing, 1], roll_share=_LEAN)
        return own - self.head.flat(np.zeros((1, 2)), roll_share=_LEAN) + self._chin


def draw_body(canvas: Canvas, head: HeadFrame, clothes: Clothes) -> None:
    """Draw everything below the chin."""
    frame, skin = BodyFrame(head), head.identity.skin
    if clothes.kind in _CAPED:
        cape = [[-0.55, 0.2], [0.55, 0.2], [1.15, _FEET], [-1.15, _FEET]]
        canvas.fill(frame.place(cape), darker(clothes.trim, 0.2), _CAPE_DEPTH)
    for side in (-1, 1):
        _draw_arm(canvas, frame, side, skin if clothes.kind in _BARE_ARMED else clothes.cloth, skin)
    _draw_torso(canvas, frame, clothes.cloth)
    neck = [[-0.17, -0.25], [0.17, -0.25], [0.2, 0.3], [0, 0.42], [-0.2, 0.3]]
    canvas.fill(frame.place(neck), darker(skin, 0.18), _TORSO_DEPTH)
    _DETAILS[clothes.kind](canvas, frame, clothes)


def _draw_torso(canvas: Canvas, frame: BodyFrame, cloth: Colour) -> None:
    left = [[-0.2, 0.19], [-0.52, 0.28], [-_SHOULDER, 0.48], [-0.66, 1.2], [-0.58, _FEET]]
    right = [[-x, y] for x, y in reversed(left)]
    canvas.fill(frame.place(rounded(left + right, 2)), cloth, _TORSO_DEPTH)
    shadow = [[0.3, 0.27], [0.62, 0.44], [0.64, 1.2], [0.56, _FEET], [0.38, _FEET], [0.46, 1.1]]
    canvas.fill(frame.place(rounded(shadow, 2)), darker(cloth, 0.14))


def _draw_arm(canvas: Canvas, frame: BodyFrame, side: int, sleeve: Colour, skin: Colour) -> None:
    shoulder, elbow, hand = [side * 0.6, 0.54], [side * 0.78, 1.25], [side * 0.7, 1.95]
    _draw_limb(canvas, frame, elbow, hand, 0.11, darker(sleeve, 0.16))
    canvas.fill(frame.place(ellipse(hand[0], hand[1], 0.13, 0.14)), skin, _ARM_DEPTH)
    _draw_limb(canvas, frame, shoulder, elbow, 0.15, darker(sleeve, 0.1))


def _draw_limb(
    canvas: Canvas, frame: BodyFrame, start: list[float], end: list[float], half_width: float, colour: Colour
) -> None:
    along = np.array(end) - start
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) * half_width
    sides = np.stack([start + across, end + across, end - across, start - across])
    for shape in (sides, *(ellipse(x, y, half_width, half_width) for x, y in (start, end))):
        canvas.fill(frame.place(shape), colour, _ARM_DEPTH)


def _draw_t_shirt(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    collar = np.array([[x, 0.21 + 0.17 * np.sqrt(max(0.0, 1 - (x / 0.25) ** 2))] for x in np.linspace(-0.25, 0.25, 15)])
    canvas.stroke(frame.place(collar), darker(clothes.cloth, 0.35), 0.045 * frame.unit_px)
    canvas.fill(frame.place([[-0.66, 0.95], [0.66, 0.95], [0.65, 1.13], [-0.65, 1.13]]), clothes.trim)


def _draw_hoodie(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    for side in (-1, 1):
        hood = [[side * 0.17, 0.1], [side * 0.5, 0.25], [side * 0.15, 0.58], [0, 0.48]]
        canvas.fill(frame.place(rounded(hood, 2)), darker(clothes.cloth, 0.28), _ARM_DEPTH)
        string = [[side * 0.12, 0.48], [side * 0.14, 0.88]]
        canvas.stroke(frame.place(string), clothes.trim, 0.035 * frame.unit_px)


def _draw_dress(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    canvas.fill(frame.place([[-0.63, 1.35], [0.63, 1.35], [0.62, 1.5], [-0.62, 1.5]]), clothes.trim)
    for x in np.linspace(-0.26, 0.26, 5):
        canvas.fill(frame.place(ellipse(x, 0.38 - 1.9 * x**2, 0.045, 0.045)), clothes.trim)


def _draw_suit(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    canvas.fill(frame.place([[-0.21, 0.2], [0.21, 0.2], [0, 1.15]]), WHITE)
    tie = [[-0.05, 0.38], [0.05, 0.38], [0.08, 0.8], [0, 0.95], [-0.08, 0.8]]
    canvas.fill(frame.place(tie), clothes.trim)
    for side in (-1, 1):
        lapel = [[side * 0.21, 0.18], [side * 0.4, 0.38], [side * 0.31, 0.65], [0, 1.2]]
        canvas.fill(frame.place(lapel), darker(clothes.cloth, 0.35))


def _draw_superhero_suit(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    shield = np.array([[-0.31, 0.58], [0.31, 0.58], [0.36, 0.75], [0, 1.12], [-0.36, 0.75]])
    canvas.fill(frame.place(shield), _GOLD)
    canvas.fill(frame.place((shield - [0, 0.8]) * 0.78 + [0, 0.8]), clothes.trim)
    bolt = [[0.03, 0.64], [-0.11, 0.84], [0, 0.84], [-0.04, 1.0], [0.11, 0.78], [0, 0.78]]
    canvas.fill(frame.place(bolt), _GOLD)
    for side in (-1, 1):
        canvas.fill(frame.place([[side * 0.17, 0.2], [side * 0.56, 0.28], [side * 0.38, 0.5]]), clothes.trim)
    canvas.fill(frame.place([[-0.63, 1.55], [0.63, 1.55], [0.62, 1.7], [-0.62, 1.7]]), _GOLD)


def _draw_striped_sweater(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    for y in (0.62, 0.92, 1.22, 1.52, 1.82):
        _draw_band(canvas, frame, y, 0.12, clothes.trim)


def _draw_superman(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    shield = np.array([[-0.3, 0.56], [0.3, 0.56], [0.38, 0.72], [0, 1.16], [-0.38, 0.72]])
    canvas.fill(frame.place(shield), clothes.trim)
    canvas.fill(frame.place((shield - [0, 0.8]) * 0.74 + [0, 0.8]), _GOLD)
    letter = [[0.15, 0.68], [-0.02, 0.63], [-0.13, 0.7], [0.1, 0.85], [0, 0.93], [-0.12, 0.87]]
    canvas.stroke(frame.place(letter), clothes.trim, 0.07 * frame.unit_px)
    for side in (-1, 1):
        canvas.fill(frame.place([[side * 0.17, 0.2], [side * 0.62, 0.3], [side * 0.4, 0.5]]), clothes.trim)
    _draw_band(canvas, frame, 1.55, 0.14, _GOLD)


def _draw_wonder_woman(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    skin = frame.head.identity.skin
    canvas.fill(frame.place([[-0.7, 0.26], [0.7, 0.26], [0.68, 0.56], [0, 0.66], [-0.68, 0.56]]), skin)
    wings = [[-0.36, 0.62], [-0.14, 0.7], [0, 0.66], [0.14, 0.7], [0.36, 0.62], [0.2, 0.76], [0, 0.84], [-0.2, 0.76]]
    canvas.fill(frame.place(wings), _GOLD)
    _draw_band(canvas, frame, 1.45, 0.12, _GOLD)
    canvas.fill(frame.place([[-0.65, 1.57], [0.65, 1.57], [0.58, _FEET], [-0.58, _FEET]]), clothes.trim)


def _draw_batman(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    canvas.fill(frame.place([[-0.24, 0.15], [0.24, 0.15], [0.6, 0.5], [0, 0.42], [-0.6, 0.5]]), clothes.trim)
    canvas.fill(frame.place(ellipse(0, 0.78, 0.34, 0.2)), _GOLD)
    bat = [[-0.28, 0.78], [-0.08, 0.68], [0, 0.72], [0.08, 0.68], [0.28, 0.78], [0.1, 0.8], [0, 0.92], [-0.1, 0.8]]
    canvas.fill(frame.place(bat), clothes.trim)
    _draw_band(canvas, frame, 1.55, 0.14, _GOLD)


def _draw_spider_man(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    for side in (-1, 1):
        flank = [[side * 0.72, 0.62], [side * 0.4, 0.8], [side * 0.34, _FEET], [side * 0.66, _FEET]]
        canvas.fill(frame.place(flank), clothes.trim)
        for dy in (-0.16, 0.0, 0.16):
            leg = np.array([[0, 0.72], [side * 0.18, 0.72 + dy], [side * 0.26, 0.72 + 2 * dy]])
            canvas.stroke(frame.place(leg), INK, 0.03 * frame.unit_px)
    canvas.fill(frame.place(ellipse(0, 0.74, 0.06, 0.12)), INK)


def _draw_astronaut(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    ring = ellipse(0, 0.22, 0.42, 0.13)
    canvas.fill(frame.place(ring), _SILVER, _ARM_DEPTH)
    canvas.fill(frame.place(ellipse(0, 0.19, 0.34, 0.08)), darker(_SILVER, 0.5))
    for side in (-1, 1):
        canvas.fill(
            frame.place([[side * 0.5, 0.4], [side * 0.62, 0.4], [side * 0.62, _FEET], [side * 0.5, _FEET]]),
            clothes.trim,
        )
    canvas.fill(frame.place([[-0.26, 0.66], [0.26, 0.66], [0.26, 1.04], [-0.26, 1.04]]), _SILVER)
    for x, colour in ((-0.15, (206, 44, 48)), (0.0, (36, 92, 196)), (0.15, (40, 146, 84))):
        canvas.fill(frame.place(ellipse(x, 0.82, 0.05, 0.05, 12)), colour)


def _draw_firefighter(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    canvas.fill(frame.place([[-0.05, 0.4], [0.05, 0.4], [0.05, _FEET], [-0.05, _FEET]]), clothes.trim)
    for y in (0.78, 1.4):
        _draw_band(canvas, frame, y, 0.18, _SILVER)
    collar = [[-0.34, 0.18], [0, 0.44], [0.34, 0.18], [0.42, 0.34], [0, 0.62], [-0.42, 0.34]]
    canvas.fill(frame.place(collar), clothes.trim)


def _draw_doctor(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    canvas.fill(frame.place([[-0.24, 0.2], [0.24, 0.2], [0.12, _FEET], [-0.12, _FEET]]), clothes.trim)
    tube = [[-0.3, 0.24], [-0.24, 0.7], [0.02, 0.95], [0.24, 0.7], [0.3, 0.24]]
    canvas.stroke(frame.place(tube), INK, 0.05 * frame.unit_px)
    canvas.fill(frame.place(ellipse(0.02, 1.0, 0.09, 0.09)), _SILVER)


def _draw_police(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    tie = [[-0.07, 0.36], [0.07, 0.36], [0.1, 0.95], [0, 1.1], [-0.1, 0.95]]
    canvas.fill(frame.place(tie), INK)
    canvas.fill(frame.place(ellipse(0.36, 0.74, 0.12, 0.13, 6)), clothes.trim)
    for side in (-1, 1):
        canvas.fill(
            frame.place([[side * 0.44, 0.28], [side * 0.66, 0.38], [side * 0.62, 0.48], [side * 0.4, 0.38]]),
            clothes.trim,
        )
    _draw_band(canvas, frame, 1.6, 0.14, INK)


def _draw_pirate(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    for y in (0.5, 0.78, 1.06, 1.34):
        _draw_band(canvas, frame, y, 0.13, clothes.trim)
    sash = [[-0.6, 0.4], [-0.36, 0.32], [0.64, 1.5], [0.64, 1.74]]
    canvas.fill(frame.place(sash), (206, 44, 48))


def _draw_santa(canvas: Canvas, frame: BodyFrame, clothes: Clothes) -> None:
    canvas.fill(
        frame.place(rounded([[-0.42, 0.16], [0, 0.5], [0.42, 0.16], [0.5, 0.36], [0, 0.7], [-0.5, 0.36]], 2)),
        clothes.trim,
    )
    canvas.fill(frame.place([[-0.09, 0.6], [0.09, 0.6], [0.09, _FEET], [-0.09, _FEET]]), clothes.trim)
    _draw_band(canvas, frame, 1.45, 0.18, INK)


def _draw_band(canvas: Canvas, frame: BodyFrame, y: float, height: float, colour: Colour) -> None:
    canvas.fill(frame.place([[-0.65, y], [0.65, y], [0.64, y + height], [-0.64, y + height]]), colour)


_DETAILS: dict[str, Callable[[Canvas, BodyFrame, Clothes], None]] = {
    "t-shirt": _draw_t_shirt,
    "hoodie": _draw_hoodie,
    "dress": _draw_dress,
    "suit and tie": _draw_suit,
    "superhero suit": _draw_superhero_suit,
    "striped sweater": _draw_striped_sweater,
    "Superman": _draw_superman,
    "Wonder Woman": _draw_wonder_woman,
    "Batman": _draw_batman,
    "Spider-Man": _draw_spider_man,
    "astronaut": _draw_astronaut,
    "firefighter": _draw_firefighter,
    "doctor": _draw_doctor,
    "police": _draw_police,
    "pirate": _draw_pirate,
    "Santa": _draw_santa,
}
