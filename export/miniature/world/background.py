"""Draws what is behind the people."""

from collections.abc import Callable

import numpy as np

from .canvas import Canvas, ellipse, rounded
from .colours import Colour, darker, lighter, mixed
from .scene import Background

_FAR = 0.02


def draw_background(canvas: Canvas, background: Background) -> None:
    """Cover the whole canvas."""
    rng = np.random.default_rng(background.seed)
    _DRAW[background.kind](canvas, background, rng)


def _plain(canvas: Canvas, background: Background, _: np.random.Generator) -> None:
    canvas.image[:] = background.sky
    canvas.depth[:] = _FAR


def _gradient(canvas: Canvas, background: Background, _: np.random.Generator) -> None:
    _shade(canvas, lighter(background.sky, 0.35), darker(background.sky, 0.3))


def _hills(canvas: Canvas, background: Background, rng: np.random.Generator) -> None:
    _shade(canvas, background.sky, lighter(background.sky, 0.6))
    sun = ellipse(rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.3), 0.07, 0.07 * canvas.width_px / canvas.height_px)
    _fill(canvas, sun, (255, 240, 190), _FAR)
    x = np.linspace(0, 1, 40)
    for layer in range(3):
        wave = 0.07 * np.sin(x * rng.uniform(4, 9) + rng.uniform(0, 6))
        ridge = np.stack([x, 0.5 + 0.15 * layer + wave], axis=1)
        colour = mixed(lighter(background.sky, 0.4), background.ground, 0.45 + 0.27 * layer)
        _fill(canvas, np.concatenate([ridge, [[1, 1], [0, 1]]]), colour, 0.06 + 0.08 * layer)


def _city(canvas: Canvas, background: Background, rng: np.random.Generator) -> None:
    _shade(canvas, background.sky, lighter(background.sky, 0.5))
    for layer in range(2):
        left = -rng.uniform(0, 0.1)
        while left < 1:
            width, top = rng.uniform(0.1, 0.2), rng.uniform(0.15, 0.5) + 0.18 * layer
            colour = mixed(background.sky, darker(background.ground, 0.35), 0.45 + 0.4 * layer)
            _house(canvas, (left, top, width - 0.012), colour, 0.06 + 0.08 * layer)
            left += width
    _fill(canvas, _rectangle(0, 0.93, 1, 1), darker(background.ground, 0.6), 0.25)


def _house(canvas: Canvas, place: tuple[float, float, float], colour: Colour, depth: float) -> None:
    left, top, width = place
    _fill(canvas, _rectangle(left, top, left + width, 1), colour, depth)
    for y in np.arange(top + 0.04, 0.92, 0.09):
        for x in (left + 0.2 * width, left + 0.6 * width):
            _fill(canvas, _rectangle(x, y, x + 0.2 * width, y + 0.045), lighter(colour, 0.35), depth)


def _room(canvas: Canvas, background: Background, rng: np.random.Generator) -> None:
    _shade(canvas, lighter(background.sky, 0.3), background.sky)
    floor, x = rng.uniform(0.78, 0.9), rng.uniform(0.05, 0.55)
    _fill(canvas, _rectangle(0, floor, 1, 1), background.ground, 0.25)
    _fill(canvas, _rectangle(0, floor - 0.02, 1, floor), lighter(background.sky, 0.7), 0.12)
    _fill(canvas, _rectangle(x, 0.1, x + 0.36, 0.5), lighter(background.ground, 0.7), 0.08)
    _fill(canvas, _rectangle(x + 0.02, 0.12, x + 0.17, 0.48), (196, 226, 244), _FAR)
    _fill(canvas, _rectangle(x + 0.19, 0.12, x + 0.34, 0.48), (196, 226, 244), _FAR)
    pot = rng.uniform(0.05, 0.95)
    for lean in (-0.07, 0.0, 0.07):
        leaf = [(pot, floor), (pot + lean - 0.05, floor - 0.2), (pot + 1.6 * lean, floor - 0.34), (pot + 0.03, floor)]
        _fill(canvas, rounded(leaf), (70, 136, 92), 0.2)
    _fill(canvas, _rectangle(pot - 0.05, floor - 0.06, pot + 0.05, floor + 0.05), (190, 110, 80), 0.22)


_DRAW: dict[str, Callable[[Canvas, Background, np.random.Generator], None]] = {
    "plain": _plain,
    "gradient": _gradient,
    "hills": _hills,
    "city": _city,
    "room": _room,
}


def _shade(canvas: Canvas, top: Colour, bottom: Colour) -> None:
    down = np.linspace(0, 1, canvas.height_px)[:, None, None]
    canvas.image[:] = ((1 - down) * np.array(top) + down * np.array(bottom)).astype(np.uint8)
    canvas.depth[:] = _FAR + 0.08 * down[..., 0]


def _fill(canvas: Canvas, shares: np.ndarray, colour: Colour, depth: float) -> None:
    canvas.fill(shares * [canvas.width_px, canvas.height_px], colour, depth)


def _rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
