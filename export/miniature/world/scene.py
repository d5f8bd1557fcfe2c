"""What is in a picture: people, how they stand, what they wear, and what is behind them."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from .colours import Colour, pick
from .identity import Identity

ClothesKind = Literal["t-shirt", "superhero suit", "dress", "hoodie", "suit and tie"]
BackgroundKind = Literal["plain", "gradient", "hills", "city", "room"]

_CLOTHS: tuple[Colour, ...] = (
    (214, 64, 62),
    (44, 96, 180),
    (52, 140, 104),
    (240, 178, 66),
    (120, 84, 160),
    (66, 72, 92),
    (236, 236, 230),
    (230, 128, 150),
)
_SKIES: tuple[Colour, ...] = (
    (158, 208, 240),
    (250, 206, 160),
    (198, 222, 206),
    (234, 218, 236),
    (110, 130, 180),
    (240, 234, 220),
    (92, 164, 170),
    (60, 60, 84),
)
_GROUNDS: tuple[Colour, ...] = ((112, 170, 104), (168, 148, 112), (88, 128, 148), (176, 120, 96), (120, 116, 140))


@dataclass(frozen=True)
class Pose:
    """Where the head is and how it is turned.

    ``centre_x``, ``centre_y`` and ``head_size`` (its height) are shares of the picture's width, height and height.
    """

    centre_x: float = 0.5
    centre_y: float = 0.42
    head_size: float = 0.42
    roll_deg: float = 0.0
    """Positive turns the head clockwise in the picture."""
    yaw_deg: float = 0.0
    """Positive turns the face to the viewer's right; up to about 40 both eyes are seen."""
    smile: float = 0.5
    """0 is earnest, 1 laughs."""

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Pose":
        """Draw a portrait's pose."""
        return cls(
            centre_x=rng.uniform(0.35, 0.65),
            centre_y=rng.uniform(0.36, 0.48),
            head_size=rng.uniform(0.3, 0.55),
            roll_deg=float(np.clip(rng.normal(0, 10), -30, 30)),
            yaw_deg=float(np.clip(rng.normal(0, 16), -38, 38)),
            smile=rng.uniform(0, 1),
        )


@dataclass(frozen=True)
class Clothes:
    """``trim`` colours the emblem, cape, collar or strings."""

    kind: ClothesKind = "t-shirt"
    cloth: Colour = _CLOTHS[1]
    trim: Colour = _CLOTHS[0]

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Clothes":
        """Draw an outfit of two different colours."""
        cloth, trim = rng.permutation(len(_CLOTHS))[:2]
        kind = get_args(ClothesKind)[rng.integers(len(get_args(ClothesKind)))]
        return cls(kind, _CLOTHS[cloth], _CLOTHS[trim])


@dataclass(frozen=True)
class Background:
    """``seed`` places the hills, houses or furniture."""

    kind: BackgroundKind = "gradient"
    sky: Colour = _SKIES[0]
    ground: Colour = _GROUNDS[0]
    seed: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Background":
        """Draw a place."""
        kind = get_args(BackgroundKind)[rng.integers(len(get_args(BackgroundKind)))]
        return cls(kind, pick(rng, _SKIES), pick(rng, _GROUNDS), int(rng.integers(2**31)))


@dataclass(frozen=True)
class Person:
    """Somebody in a picture."""

    identity: Identity
    pose: Pose = field(default_factory=Pose)
    clothes: Clothes = field(default_factory=Clothes)

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Person":
        """Draw somebody as in a portrait."""
        return cls(Identity.random(rng), Pose.random(rng), Clothes.random(rng))


@dataclass(frozen=True)
class Scene:
    """People are drawn in order, so the last one stands in front."""

    people: tuple[Person, ...] = ()
    background: Background = field(default_factory=Background)
