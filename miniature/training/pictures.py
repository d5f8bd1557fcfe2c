"""The training pictures: thousands of people, each in several pictures, drawn once and stored in parts."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..world import Background, Identity, Person, Pose, Scene, prompt_of, render

SIZES_PX = ((128, 128), (128, 128), (192, 128), (128, 128), (128, 128), (128, 192), (128, 128))
"""The sizes that a checkpoint of 128 pixels makes."""
HELD_BACK_SEED = 0xC0FFEE
"""Seed of the evaluation's people, poses and prompts; training never draws from it."""
_SUPERSAMPLING = 2
_SQUEEZED = 0.5
_PROMPTS = 2
_FAR_HEADS = (0.06, 0.26)

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainingPictures:
    """``parts`` files of ``people`` people in ``each`` pictures."""

    folder: Path
    seed: int
    parts: int = 48
    people: int = 125
    each: int = 8
    for_detector: int = 6000
    """Pictures of the face detector, which are not stored."""
    sizes_px: tuple[tuple[int, int], ...] = SIZES_PX
    """(height, width) of the pictures of successive parts."""
    small: float = 0.0
    """Share of the pictures in which the person stands far away."""

    def path(self, part: int) -> Path:
        """Return a part's path."""
        return self.folder / f"pictures-{part:03}.npz"


def draw_all(pictures: TrainingPictures) -> None:
    """Draw what is missing, on all cores. Shows its progress."""
    pictures.folder.mkdir(parents=True, exist_ok=True)
    missing = [part for part in range(pictures.parts) if not pictures.path(part).exists()]
    # Spawn, since a forked child of a multi-threaded process may wait for a lock that no thread holds.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        list(
            tqdm(
                pool.map(_draw_part, [pictures] * len(missing), missing),
                total=len(missing),
                desc="drawing",
                unit="part",
            )
        )


def load(pictures: TrainingPictures, part: int, *names: str) -> Arrays:
    """Return the arrays called ``names`` of a part.

    ``image`` and ``twin`` (N, H, W, 3) uint8 RGB: a person, and somebody else in the same pose elsewhere;
    ``depth`` (N, H, W) uint8, the picture's truth, near is bright; ``keypoints`` (N, 5, 2) and ``box`` (N, 4) float32
    pixels; ``person`` (N,) int64; ``plain`` (N,) bool: a flawless photo of somebody near; ``bent`` (N,) bool: its
    anatomy is bad, so that keypoints and depth don't hold; ``prompt`` (N, 2) str.
    """
    with np.load(pictures.path(part)) as arrays:
        return {name: arrays[name] for name in names}


def load_all(pictures: TrainingPictures, *names: str) -> Iterator[Arrays]:
    """Yield what `load` returns, one part after the other."""
    return (load(pictures, part, *names) for part in range(pictures.parts))


def derived(pictures: TrainingPictures, kind: str, make: Callable[[int], Arrays]) -> list[Arrays]:
    """Return ``make``'s result for each part, cached beside the pictures. Shows its progress."""
    parts = []
    for part in tqdm(range(pictures.parts), desc=kind, unit="part"):
        path = pictures.folder / f"{kind}-{part:03}.npz"
        if not path.exists():
            _write_arrays(path, make(part))
        with np.load(path) as arrays:
            parts.append(dict(arrays))
    return parts


def _write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an ``.npz`` file atomically."""
    draft = path.with_suffix(".unfinished.npz")
    np.savez(draft, **arrays)  # type: ignore[arg-type]
    draft.rename(path)


def _draw_part(pictures: TrainingPictures, part: int) -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng([pictures.seed, part])
    size_px = pictures.sizes_px[part % len(pictures.sizes_px)]
    drawn = []
    for person in range(pictures.people):
        identity = Identity.random(rng)
        drawn += [
            _draw(rng, identity, size_px, pictures.small) | {"person": part * pictures.people + person}
            for _ in range(pictures.each)
        ]
    _write_arrays(pictures.path(part), {name: np.stack([each[name] for each in drawn]) for name in drawn[0]})


def _draw(
    rng: np.random.Generator, identity: Identity, size_px: tuple[int, int], small: float
) -> dict[str, np.ndarray]:
    scene = Scene.random(rng)
    is_small = rng.random() < small if small else False  # without small ones a seed draws what it drew before
    person = replace(scene.people[0], identity=identity, pose=far_pose(rng) if is_small else random_pose(rng))
    scene = replace(scene, people=(person,))
    twin = Scene((replace(Person.random(rng), pose=person.pose),), Background.random(rng))
    height, width = (_SUPERSAMPLING * side for side in size_px)
    drawn_width = round(width * (rng.uniform(0.75, 1.33) if rng.random() < _SQUEEZED else 1))
    drawn = render(scene, height, drawn_width)
    scale = np.array(size_px[::-1]) / [drawn_width, height]
    return {
        "image": _shrink(drawn.image, size_px),
        "twin": _shrink(render(twin, height, drawn_width).image, size_px),
        "depth": (_shrink(drawn.depth, size_px) * 255).astype(np.uint8),
        "keypoints": (drawn.keypoints[0] * scale).astype(np.float32),
        "box": (drawn.face_boxes[0] * np.tile(scale, 2)).astype(np.float32),
        "plain": np.array(scene.style == "photo" and scene.flaw is None and not is_small),
        "bent": np.array(scene.flaw == "bad anatomy"),
        "prompt": np.array([prompt_of(scene, rng) for _ in range(_PROMPTS)]),
    }


def random_pose(rng: np.random.Generator) -> Pose:
    """Draw a portrait's pose; some people stand farther away, nearer, or to the side."""
    pose = Pose.random(rng)
    if rng.random() < 0.7:
        return pose
    place = {"centre_x": rng.uniform(0.28, 0.72), "centre_y": rng.uniform(0.3, 0.52)}
    return replace(pose, **place, head_size=rng.uniform(0.26, 0.66))


def far_pose(rng: np.random.Generator) -> Pose:
    """Draw the pose of somebody who is seen whole: the head is 6 to 26 % of the picture's height."""
    place = {"centre_x": rng.uniform(0.25, 0.75), "centre_y": rng.uniform(0.25, 0.5)}
    return replace(Pose.random(rng), **place, head_size=float(np.exp(rng.uniform(*np.log(_FAR_HEADS)))))


def _shrink(image: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size_px[::-1], interpolation=cv2.INTER_AREA)
