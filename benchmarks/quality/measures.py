"""What can be measured in a picture and compared with what was asked for."""

from dataclasses import dataclass

import cv2
import numpy as np

from miniature.world import Person
from miniature.world.body import BodyFrame
from miniature.world.colours import Colour
from miniature.world.frame import HeadFrame
from miniature.world.palette import CLOTHS, SKIES

_TORSO = np.array([[-0.5, 0.5], [0.5, 0.5], [0.52, 1.3], [0.5, 2.0], [-0.5, 2.0], [-0.52, 1.3]])
_BORDER = 0.06


@dataclass(frozen=True)
class Sight:
    """What the served networks see in a picture; without a face, ``embedding`` and ``keypoints`` are None."""

    embedding: np.ndarray | None
    """(512,) float32"""
    keypoints: np.ndarray | None
    """(5, 2) float32 pixels"""
    box: np.ndarray | None
    """(4,) float32 pixels"""
    depth: np.ndarray
    """(H, W) float32 in [0, 1], near is bright"""


def cosines(embedding: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the cosine (N,) of an embedding (512,) with each of ``others`` (N, 512)."""
    return others @ embedding / (np.linalg.norm(others, axis=1) * np.linalg.norm(embedding))


def keypoint_error(seen: Sight, wanted: Sight) -> float:
    """Return the mean distance of the five points in sizes of the wanted face (its box's mean side)."""
    if seen.keypoints is None or wanted.keypoints is None or wanted.box is None:
        return float("inf")
    size = (wanted.box[2:] - wanted.box[:2]).mean()
    return float(np.linalg.norm(seen.keypoints - wanted.keypoints, axis=1).mean() / size)


def depth_correlation(seen: Sight, wanted: Sight) -> float:
    """Return Pearson's correlation of the two depth maps."""
    return float(np.corrcoef(seen.depth.ravel(), wanted.depth.ravel())[0, 1])


def clothes_colour(image: np.ndarray, person: Person, drawn_px: tuple[int, int]) -> str | None:
    """Return the name of the colour that most of the body has, where ``person`` stands; None: no body is seen.

    ``drawn_px``: (height, width) that the person was drawn in, before the picture was resized.
    """
    frame = BodyFrame(HeadFrame(person.identity, person.pose, *drawn_px))
    factor = np.array(image.shape[1::-1]) / drawn_px[::-1]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(frame.place(_TORSO) * factor).astype(np.int32)], 1)
    pixels = image[mask > 0]
    return _most_frequent(pixels, CLOTHS) if len(pixels) else None


def background_colour(image: np.ndarray) -> str:
    """Return the name of the colour that most of the upper border has."""
    height, width = image.shape[:2]
    rows, columns = int(height * _BORDER), int(width * _BORDER)
    sides = (image[:rows], image[: height // 2, :columns], image[: height // 2, -columns:])
    return _most_frequent(np.concatenate([side.reshape(-1, 3) for side in sides]), SKIES)


def _most_frequent(pixels: np.ndarray, names: dict[str, Colour]) -> str:
    colours = np.array(list(names.values()), float)
    nearest = np.linalg.norm(pixels[:, None].astype(float) - colours, axis=-1).argmin(axis=1)
    return list(names)[np.bincount(nearest, minlength=len(names)).argmax()]
