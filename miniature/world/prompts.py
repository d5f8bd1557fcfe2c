"""Prompts for scenes."""

from collections.abc import Iterator

import numpy as np

from .identity import HairStyle, Identity
from .palette import CLOTHS, HAIRS, SKIES, name_of
from .scene import Background, Clothes, Costume, Person, Scene, Style

_PICTURES: dict[Style, tuple[str, ...]] = {
    "photo": ("Photo of", "Portrait photo of", "Picture of", "A photo of"),
    "black and white photo": ("Black and white photo of",),
    "pencil sketch": ("Pencil sketch of", "Sketches of"),
    "oil painting": ("Oil painting of",),
    "pixel art": ("Pixel art of",),
}
_FLAWS = {
    None: ("",),
    "low quality": ("lowquality, badquality, ", "lowquality, ", "badquality, ", "blurry, low quality, "),
    "bad anatomy": ("bad anatomy, ", "bad hands, missing fingers, ", "bad anatomy, deformed, "),
}
_COSTUMES: dict[Costume, tuple[str, ...]] = {
    "Superman": ("a Superman costume", "a Superman suit"),
    "Wonder Woman": ("a Wonder Woman costume", "a Wonder Woman outfit"),
    "Batman": ("a Batman costume", "a Batman suit"),
    "Spider-Man": ("a Spider-Man costume", "a Spider-Man suit"),
    "astronaut": ("an astronaut costume", "an astronaut suit"),
    "firefighter": ("a firefighter costume", "a firefighter uniform"),
    "doctor": ("a doctor costume", "a doctor coat"),
    "police": ("a police costume", "a police uniform"),
    "pirate": ("a pirate costume", "a pirate shirt"),
    "Santa": ("a Santa costume", "a Santa Claus costume"),
}
_HAIR: dict[HairStyle, str] = {
    "short": "short {} hair",
    "long": "long {} hair",
    "bob": "a {} bob",
    "bun": "{} hair in a bun",
    "curly": "curly {} hair",
    "bald": "a bald head",
}
_PLACES = {
    "plain": ("in front of a plain {} wall", "on a plain {} background"),
    "gradient": ("in a studio with a plain {} backdrop", "in front of a plain {} backdrop"),
    "hills": ("in the hills under a {} sky", "on a hill"),
    "city": ("in a city under a {} sky", "in a city"),
    "room": ("in a room with {} walls", "in a room"),
    "beach": ("at the beach under a {} sky", "at the beach"),
    "snow": ("in the snow under a {} sky", "in the snow"),
    "forest": ("in a forest under a {} sky", "in a forest"),
    "night": ("at night", "under the stars at night"),
}


def prompt_of(scene: Scene, rng: np.random.Generator) -> str:
    """Describe a scene of one person; the prompt does not mention everything."""
    (person,) = scene.people
    parts = [f"{_pick(rng, _FLAWS[scene.flaw])}{_pick(rng, _PICTURES[scene.style])} {_who(person, rng)}"]
    if rng.random() < 0.92:
        parts.append(f"wearing {clothes_in_words(person.clothes, rng)}")
    if rng.random() < 0.8:
        parts.append(place_in_words(scene.background, rng))
    return " ".join(parts)


def clothes_in_words(clothes: Clothes, rng: np.random.Generator) -> str:
    """Return "a red hoodie", "a Superman costume"."""
    if clothes.kind in _COSTUMES:
        return _pick(rng, _COSTUMES[clothes.kind])
    colour = name_of(clothes.cloth, CLOTHS)
    details = f" with {name_of(clothes.trim, CLOTHS)} details" if rng.random() < 0.4 else ""
    return f"{article(colour)} {colour} {clothes.kind}{details}"


def place_in_words(background: Background, rng: np.random.Generator) -> str:
    """Return "in a city", "in front of a plain blue wall"."""
    return _pick(rng, _PLACES[background.kind]).format(name_of(background.sky, SKIES))


def every_word() -> Iterator[str]:
    """Yield sentences with each word of the prompts, often enough for a tokenizer to learn it."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        yield prompt_of(Scene.random(rng), rng)
    for flaws in _FLAWS.values():
        yield from flaws


def article(word: str) -> str:
    """Return "a" or "an"."""
    return "an" if word[0] in "aeio" else "a"


def _who(person: Person, rng: np.random.Generator) -> str:
    identity, smile = person.identity, person.pose.smile
    mood = ""
    if rng.random() < 0.5:
        mood = "smiling " if smile > 0.65 else "serious " if smile < 0.25 else ""
    noun = _pick(rng, (identity.gender, identity.gender, identity.gender, "person"))
    looks = f" with {_pick(rng, _looks(identity))}" if rng.random() < 0.3 else ""
    return f"a {mood}{noun}{looks}"


def _looks(identity: Identity) -> tuple[str, ...]:
    looks: tuple[str, ...] = (_HAIR[identity.hair_style].format(name_of(identity.hair, HAIRS)),)
    looks += ("glasses",) if identity.glasses else ()
    looks += ("a beard",) if identity.beard else ()
    return looks + (("freckles",) if identity.freckles else ())


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[rng.integers(len(options))]
