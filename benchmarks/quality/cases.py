"""What is asked for: somebody's face, somebody else's pose, clothes and a place, all of the little world."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from miniature.training.pictures import HELD_BACK_SEED
from miniature.world import Background, Clothes, Identity, Person, Pose, Scene, render
from miniature.world.palette import CLOTHS
from miniature.world.prompts import clothes_in_words, place_in_words
from miniature.world.scene import ClothesKind, Costume

_KINDS: tuple[ClothesKind, ...] = ("t-shirt", "hoodie", "dress", "superhero suit")
"""Clothes of mostly one colour, which can be looked up in a picture."""
_COSTUMES = tuple(name for name in get_args(Costume) if name not in ("doctor", "pirate", "Wonder Woman"))
_SIZES_PX = ((256, 256), (320, 256), (256, 320), (384, 256), (256, 384))
MOST_FACES = 8
_UPRIGHT = Pose(head_size=0.48, centre_y=0.46)


@dataclass(frozen=True)
class Case:
    """A request with what its picture should show."""

    face: Scene
    pose: Scene
    pose_size_px: tuple[int, int]
    clothes: Clothes
    background: Background
    prompt: str
    seed: int
    more_faces: tuple[Scene, ...] = ()
    """The person of ``face`` on `MOST_FACES` other days; the last one is never sent."""

    @property
    def face_picture(self) -> np.ndarray:
        """(256, 224, 3) uint8 RGB."""
        return render(self.face, 256, 224).image

    def face_pictures(self, count: int) -> list[np.ndarray]:
        """Return ``count`` pictures of the person, of which `face_picture` is the first."""
        return [render(scene, 256, 224).image for scene in (self.face, *self.more_faces)[:count]]

    @property
    def unseen_face_picture(self) -> np.ndarray:
        """Return (256, 224, 3) uint8 RGB: the person in a picture that no request has."""
        return render(self.more_faces[-1], 256, 224).image

    @property
    def pose_picture(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return render(self.pose, *self.pose_size_px).image


def draw_cases(count: int, seed: int = 0, face_size: float = 1.0) -> Iterator[Case]:
    """Draw ``count`` cases; the same seed gives the same ones.

    ``face_size``: of the pose pictures' people, as a share of the usual one.
    """
    rng = np.random.default_rng([HELD_BACK_SEED, seed])
    rng_of_more = np.random.default_rng([HELD_BACK_SEED, seed, 1])  # of its own: a case stays what it is without them
    return (_smaller(_with_more_faces(_draw(rng), rng_of_more), face_size) for _ in range(count))


def _smaller(case: Case, face_size: float) -> Case:
    (person,) = case.pose.people
    pose = replace(person.pose, head_size=person.pose.head_size * face_size)
    return replace(case, pose=replace(case.pose, people=(replace(person, pose=pose),)))


def _with_more_faces(case: Case, rng: np.random.Generator) -> Case:
    (person,) = case.face.people
    return replace(case, more_faces=tuple(_face_scene(person.identity, rng) for _ in range(MOST_FACES)))


def _face_scene(identity: Identity, rng: np.random.Generator) -> Scene:
    return Scene((Person(identity, _turned(rng), Clothes.random(rng)),), Background.random(rng))


def _turned(rng: np.random.Generator) -> Pose:
    return replace(_UPRIGHT, roll_deg=float(rng.uniform(-8, 8)), yaw_deg=float(rng.uniform(-15, 15)))


def _draw(rng: np.random.Generator) -> Case:
    identity, clothes, background = Identity.random(rng), _clothes(rng), Background.random(rng)
    if rng.random() < 0.5:
        background = replace(background, kind="plain")
    turned = _turned(rng)
    words = f"Photo of a {identity.gender} wearing {clothes_in_words(clothes, _FirstOnly())}"
    return Case(
        face=Scene((Person(identity, turned, Clothes.random(rng)),), Background.random(rng)),
        pose=Scene((Person.random(rng),), Background.random(rng)),
        pose_size_px=_SIZES_PX[rng.choice(len(_SIZES_PX), p=(0.4, 0.2, 0.2, 0.1, 0.1))],
        clothes=clothes,
        background=background,
        prompt=f"{words} {place_in_words(background, _FirstOnly())}",
        seed=int(rng.integers(2**31)),
    )


def _clothes(rng: np.random.Generator) -> Clothes:
    if rng.random() < 0.5:
        return Clothes.costume(_COSTUMES[rng.integers(len(_COSTUMES))])
    cloth, trim = rng.permutation(list(CLOTHS))[:2]
    return Clothes(_KINDS[rng.integers(len(_KINDS))], CLOTHS[cloth], CLOTHS[trim])


class _FirstOnly(np.random.Generator):
    """Words as the product page has them: always the first way to say it, without details."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def integers(self, *_: object, **__: object) -> int:  # type: ignore[override]
        """Return the first index."""
        return 0

    def random(self, *_: object, **__: object) -> float:  # type: ignore[override]
        """Return what leaves every detail out."""
        return 1.0
