"""A person's identity: what stays the same from picture to picture."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .colours import Colour, mixed, pick
from .palette import HAIRS

HairStyle = Literal["short", "long", "bob", "bun", "curly", "bald"]
Gender = Literal["woman", "man"]

_SKIN: tuple[Colour, ...] = (
    (255, 224, 196),
    (244, 202, 168),
    (226, 172, 130),
    (196, 138, 98),
    (152, 98, 66),
    (110, 70, 50),
)
_STYLES: dict[Gender, tuple[HairStyle, ...]] = {
    "woman": ("long", "bob", "bun", "curly"),
    "man": ("short", "curly", "bald", "long"),
}
_EYES: tuple[Colour, ...] = ((70, 46, 30), (60, 110, 170), (70, 130, 80), (110, 110, 120), (150, 100, 40))
_LIPS: dict[Gender, tuple[Colour, ...]] = {
    "woman": ((206, 60, 84), (196, 70, 86), (160, 44, 80)),
    "man": ((186, 96, 90), (168, 92, 84)),
}
_GLASSES: tuple[Colour, ...] = ((40, 36, 46), (170, 40, 50), (40, 80, 150), (150, 120, 60))


@dataclass(frozen=True)
class Identity:
    """Lengths are shares of the head's height, which is 1."""

    half_width: float = 0.4
    jaw: float = 0.2
    """How much narrower the head is at the chin, 0 to 0.4."""
    skin: Colour = _SKIN[1]
    hair_style: HairStyle = "short"
    hair: Colour = HAIRS["dark brown"]
    eye: Colour = _EYES[0]
    eye_size: float = 0.08
    """Half the width of an eye."""
    eye_spacing: float = 0.17
    """From the middle of the face to an eye."""
    brow_thickness: float = 0.03
    nose_size: float = 0.05
    mouth_width: float = 0.13
    """Half the width of the mouth."""
    lips: Colour = _LIPS["man"][0]
    glasses: Colour | None = None
    beard: bool = False
    freckles: bool = False
    gender: Gender = "man"
    """Women have lashes and red lips, some men beards."""

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Identity":
        """Draw a random person."""
        gender = get_args(Gender)[rng.integers(len(get_args(Gender)))]
        style = _STYLES[gender][rng.integers(len(_STYLES[gender]))]
        skin = pick(rng, _SKIN)
        return cls(
            half_width=rng.uniform(0.36, 0.45),
            jaw=rng.uniform(0.05, 0.36),
            skin=skin,
            hair_style=style,
            hair=pick(rng, tuple(HAIRS.values())),
            eye=pick(rng, _EYES),
            eye_size=rng.uniform(0.062, 0.098),
            eye_spacing=rng.uniform(0.15, 0.195),
            brow_thickness=rng.uniform(0.015, 0.05),
            nose_size=rng.uniform(0.035, 0.075),
            mouth_width=rng.uniform(0.1, 0.165),
            lips=mixed(pick(rng, _LIPS[gender]), skin, rng.uniform(0, 0.4)),
            glasses=pick(rng, _GLASSES) if rng.random() < 0.25 else None,
            beard=bool(gender == "man" and rng.random() < 0.4),
            freckles=bool(rng.random() < 0.2),
            gender=gender,
        )
