"""Colours are (red, green, blue), each 0 to 255."""

import numpy as np

Colour = tuple[int, int, int]

WHITE: Colour = (250, 250, 248)
INK: Colour = (38, 32, 40)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` with ``share`` (0 to 1) of ``second``."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.25) -> Colour:
    """Return the colour with ``share`` of a warm black."""
    return mixed(colour, (40, 20, 40), share)


def lighter(colour: Colour, share: float = 0.25) -> Colour:
    """Return the colour with ``share`` of white."""
    return mixed(colour, (255, 255, 255), share)


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Return one of ``colours``."""
    return colours[rng.integers(len(colours))]
