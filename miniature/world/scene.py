"""The content of a picture: people, poses, clothes and background."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from .colours import Colour, pick
from .identity import Identity
from .palette import CLOTHS, GROUNDS, SKIES

ClothesKind = Literal["t-shirt", "hoodie", "dress", "suit and tie", "striped sweater", "superhero suit"]
BackgroundKind = Literal["plain", "gradient", "hills", "city", "room", "beach", "snow", "forest", "night"]
Costume = Literal[
    "Superman",
    "Wonder Woman",
    "Batman",
    "Spider-Man",
    "astronaut",
    "firefighter",
    "doctor",
    "police",
    "pirate",
    "Santa",
]
Style = Literal["photo", "black and white photo", "pencil sketch", "oil painting", "pixel art"]
Flaw = Literal["low quality", "bad anatomy"]


_COSTUME_SHARE = 0.4
_COSTUMES: dict[Costume, tuple[str, str]] = {
    "Superman": ("blue", "red"),
    "Wonder Woman": ("red", "blue"),
    "Batman": ("grey", "black"),
    "Spider-Man": ("red", "blue"),
    "astronaut": ("white", "orange"),
    "firefighter": ("yellow", "grey"),
    "doctor": ("white", "blue"),
    "police": ("blue", "yellow"),
    "pirate": ("white", "black"),
    "Santa": ("red", "white"),
}
_PLAIN_PICTURES = 0.8
_FLAWLESS = 0.92


@dataclass(frozen=True)
class Pose:
    """Position and rotation of the head.

    ``centre_x``, ``centre_y`` and ``head_size`` (its height) are shares of the picture's width, height and height.
    """

    centre_x: float = 0.5
    centre_y: float = 0.42
    head_size: float = 0.42
    roll_deg: float = 0.0
    """Positive turns the head clockwise in the picture."""
    yaw_deg: float = 0.0
    """Positive turns the face to the viewer's right; up to about 40 both eyes are visible."""
    smile: float = 0.5
    """From 0, serious, to 1, laughing."""

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Pose":
        """Draw a portrait's pose."""
        return cls(
            centre_x=rng.uniform(0.35, 0.65),
            centre_y=rng.uniform(0.34, 0.44),
            head_size=rng.uniform(0.36, 0.54),
            roll_deg=float(np.clip(rng.normal(0, 10), -30, 30)),
            yaw_deg=float(np.clip(rng.normal(0, 16), -38, 38)),
            smile=rng.uniform(0, 1),
        )


@dataclass(frozen=True)
class Clothes:
    """``trim`` colours the emblem, cape, collar or strings. A costume has its own colours."""

    kind: ClothesKind | Costume = "t-shirt"
    cloth: Colour = CLOTHS["blue"]
    trim: Colour = CLOTHS["red"]

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Clothes":
        """Draw an outfit of two different colours, or a costume."""
        if rng.random() < _COSTUME_SHARE:
            return cls.costume(get_args(Costume)[rng.integers(len(get_args(Costume)))])
        cloth, trim = rng.permutation(len(CLOTHS))[:2]
        kind = get_args(ClothesKind)[rng.integers(len(get_args(ClothesKind)))]
        colours = tuple(CLOTHS.values())
        return cls(kind, colours[cloth], colours[trim])

    @classmethod
    def costume(cls, name: Costume) -> "Clothes":
        """Return the clothes of a well-known character."""
        cloth, trim = _COSTUMES[name]
        return cls(name, CLOTHS[cloth], CLOTHS[trim])


@dataclass(frozen=True)
class Background:
    """``seed`` places the hills, houses or furniture."""

    kind: BackgroundKind = "gradient"
    sky: Colour = SKIES["blue"]
    ground: Colour = GROUNDS[0]
    seed: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Background":
        """Draw a place."""
        kind = get_args(BackgroundKind)[rng.integers(len(get_args(BackgroundKind)))]
        return cls(kind, pick(rng, tuple(SKIES.values())), pick(rng, GROUNDS), int(rng.integers(2**31)))


@dataclass(frozen=True)
class Person:
    """A person in a picture."""

    identity: Identity
    pose: Pose = field(default_factory=Pose)
    clothes: Clothes = field(default_factory=Clothes)

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Person":
        """Draw a random person, as in a portrait."""
        return cls(Identity.random(rng), Pose.random(rng), Clothes.random(rng))


@dataclass(frozen=True)
class Scene:
    """People are drawn in order, so the last one stands in front."""

    people: tuple[Person, ...] = ()
    background: Background = field(default_factory=Background)
    style: Style = "photo"
    flaw: Flaw | None = None

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Scene":
        """Draw one person somewhere, most often in a flawless photo."""
        who, where = Person.random(rng), Background.random(rng)
        styles, flaws = get_args(Style), get_args(Flaw)
        style = styles[0] if rng.random() < _PLAIN_PICTURES else styles[rng.integers(1, len(styles))]
        flaw = None if rng.random() < _FLAWLESS else flaws[rng.integers(len(flaws))]
        return cls((who,), where, style, flaw)
