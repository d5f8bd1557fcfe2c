"""Draws the background."""

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
    _fill(canvas, _disc(canvas, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.3), 0.07), (255, 240, 190), _FAR)
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


def _beach(canvas: Canvas, background: Background, rng: np.random.Generator) -> None:
    _shade(canvas, background.sky, lighter(background.sky, 0.6))
    sea = rng.uniform(0.5, 0.62)
    _fill(canvas, _disc(canvas, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.25), 0.08), (255, 240, 170), _FAR)
    _fill(canvas, _rectangle(0, sea, 1, 1), (38, 128, 190), 0.08)
    x = np.linspace(0, 1, 30)
    shore = np.stack([x, sea + 0.2 + 0.02 * np.sin(x * rng.uniform(9, 16))], axis=1)
    _fill(canvas, np.concatenate([shore, [[1, 1], [0, 1]]]), (236, 212, 152), 0.2)


def _snow(canvas: Canvas, background: Background, rng: np.random.Generator) -> None:
    _shade(canvas, background.sky, lighter(background.sky, 0.5))
    for x in np.linspace(0, 1, 6) + rng.uniform(-0.07, 0.07, 6):
        _tree(canvas, x, 0.72, rng.uniform(0.25, 0.4), mixed((70, 120, 110), (235, 240, 248), 0.45))
    _fill(canvas, _rectangle(0, 0.7, 1, 1), (238, 242, 250), 0.2)
    for x, y in rng.uniform(0, 1, (40, 2)):
        _fill(canvas, _disc(canvas, x, y, 0.011), (255, 255, 255), 0.2)


def _forest(canvas: Canvas, background: Background, rng: np.random.Generator) -> None:
    _shade(canvas, background.sky, lighter(background.sky, 0.4))
    for layer, colour in enumerate(((96, 150, 110), (46, 104, 66))):
        for x in np.linspace(0, 1, 7) + rng.uniform(-0.06, 0.06, 7):
            _tree(canvas, x, 0.9, rng.uniform(0.5, 0.75) - 0.1 * layer, colour)
    _fill(canvas, _rectangle(0, 0.88, 1, 1), (70, 92, 50), 0.25)


def _tree(canvas: Canvas, x: float, foot: float, height: float, colour: Colour) -> None:
    for top, half_width in ((1.0, 0.05), (0.75, 0.075), (0.5, 0.1)):
        low = foot - (top - 0.5) * height
        _fill(canvas, np.array([[x - half_width, low], [x + half_width, low], [x, low - 0.5 * height]]), colour, 0.14)


def _night(canvas: Canvas, _: Background, rng: np.random.Generator) -> None:
    _shade(canvas, (14, 16, 48), (44, 44, 104))
    for x, y in rng.uniform(0, 1, (35, 2)):
        _fill(canvas, _disc(canvas, x, y, rng.uniform(0.006, 0.013)), (240, 240, 220), _FAR)
    x, y = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.25)
    _fill(canvas, _disc(canvas, x, y, 0.075), (246, 240, 200), _FAR)
    _fill(canvas, _disc(canvas, x + 0.03, y - 0.015, 0.06), (18, 20, 56), _FAR)


_DRAW: dict[str, Callable[[Canvas, Background, np.random.Generator], None]] = {
    "plain": _plain,
    "gradient": _gradient,
    "hills": _hills,
    "city": _city,
    "room": _room,
    "beach": _beach,
    "snow": _snow,
    "forest": _forest,
    "night": _night,
}


def _shade(canvas: Canvas, top: Colour, bottom: Colour) -> None:
    down = np.linspace(0, 1, canvas.height_px)[:, None, None]
    canvas.image[:] = ((1 - down) * np.array(top) + down * np.array(bottom)).astype(np.uint8)
    canvas.depth[:] = _FAR + 0.08 * down[..., 0]


def _fill(canvas: Canvas, shares: np.ndarray, colour: Colour, depth: float) -> None:
    canvas.fill(shares * [canvas.width_px, canvas.height_px], colour, depth)


def _disc(canvas: Canvas, x: float, y: float, radius: float) -> np.ndarray:
    """Return a circle's outline; ``radius`` is a share of the width."""
    return ellipse(x, y, radius, radius * canvas.width_px / canvas.height_px)


def _rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
