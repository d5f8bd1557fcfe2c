"""Searching a picture for faces: at two scales, then more thoroughly, then rotated."""

from collections.abc import Iterator

import cv2
import numpy as np

from .detection import FaceDetector
from .faces import Faces
from .orientation import keypoints_agree, quarter_turns_to_upright

SAME_FACE = 0.4
"""Intersection over union at which two scales found the same face: SCRFD's own threshold within one scale."""
MUCH_LARGER = 2.0
"""A face found only at the coarse scale must be this many times larger in area than the largest of the fine scale."""
TILE_OVERLAP = 0.2
"""As a share of a tile's side: more than any face that is too small to be found without tiles."""


class FaceSearch:
    """Finds upright faces, also in rotated pictures."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def find(self, picture: np.ndarray) -> Faces:
        """Return the faces in ``picture``, (H, W, 3) uint8 BGR; the largest one is upright.

        The picture is searched as it is, and in quarter turns if that finds no face or one that is not upright.
        """
        turns, hint = [0, 1, 3, 2], 0
        while turns:
            turn = turns.pop(0)
            turned = np.ascontiguousarray(np.rot90(picture, turn))
            faces = self._detect(turned, thoroughly=turn == hint)
            if not len(faces):
                continue
            face = faces.pick(np.array([faces.largest]))
            further = quarter_turns_to_upright(self._detector, turned, face)
            hint = turn if further is None else (turn + further) % 4
            leans_half_way = further in (1, 3) and hint not in turns
            if further is not None and (further == 0 or leans_half_way) and keypoints_agree(face, further):
                return faces.turned_back(turn, *picture.shape[:2])
            turns.sort(key=lambda other: other != hint)
        return Faces.none()

    def _detect(self, picture: np.ndarray, thoroughly: bool) -> Faces:
        fine, *_, coarse = self._detector.sides
        faces = join_scales(self._detector.detect(picture, fine), self._detector.detect(picture, coarse))
        if len(faces) or not thoroughly:
            return faces
        return next((found for found in self._detect_thoroughly(picture) if len(found)), faces)

    def _detect_thoroughly(self, picture: np.ndarray) -> Iterator[Faces]:
        """SCRFD misses faces that are too large, that fill the picture, or that are too small."""
        for side in self._detector.sides[1:-1]:
            yield self._detector.detect(picture, side)
        border = max(picture.shape) // 2
        bordered = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_CONSTANT)
        for side in self._detector.sides:
            yield self._detector.detect(bordered, side).moved(-border, -border)
        yield self._in_tiles(picture)

    def _in_tiles(self, picture: np.ndarray) -> Faces:
        """Search the picture in tiles, without shrinking it."""
        side = self._detector.sides[0]
        faces = Faces.none()
        for top in _tile_starts(picture.shape[0], side):
            for left in _tile_starts(picture.shape[1], side):
                tile = np.ascontiguousarray(picture[top : top + side, left : left + side])
                if tile.shape != picture.shape:
                    faces += self._detector.detect(tile, side).moved(left, top)
        return self._detector.without_doubles(faces)


def join_scales(fine: Faces, coarse: Faces) -> Faces:
    """Return the faces of the fine scale, and the much larger ones that only the coarse scale found.

    If the fine scale found none, return those of the coarse scale.
    """
    if not len(fine):
        return coarse
    is_new = _overlaps(coarse.boxes, fine.boxes).max(axis=1, initial=0) < SAME_FACE
    is_large = coarse.areas > MUCH_LARGER * fine.areas.max()
    return fine + coarse.pick(is_new & is_large)


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (N, M) the intersection over union of each pair of boxes."""
    starts = np.maximum(boxes[:, None, :2], others[None, :, :2])
    ends = np.minimum(boxes[:, None, 2:4], others[None, :, 2:4])
    shared = np.clip(ends - starts, 0, None).prod(axis=2)
    own, theirs = ((b[:, 2:4] - b[:, :2]).prod(axis=1) for b in (boxes, others))
    return shared / (own[:, None] + theirs[None] - shared)


def _tile_starts(length: int, side: int) -> list[int]:
    """Return the starts of overlapping tiles of ``side`` that cover ``length``."""
    count = max(int(np.ceil((length - TILE_OVERLAP * side) / ((1 - TILE_OVERLAP) * side))), 1)
    return np.linspace(0, max(length - side, 0), count).round().astype(int).tolist()
