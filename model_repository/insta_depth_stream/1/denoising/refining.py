"""The second pass over a small face: where it is, what is cut out, and how it is put back.

A face of few pixels keeps little of a person. As users of InstantID do by hand, its surroundings are enlarged to the
model's own size, noised part of the way, denoised once more under the same conditions, and put back.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .control_pictures import Pose
from .networks import Face, Networks, analyse_face

SMALL_SHARE = 0.3
"""``auto`` refines a face whose box is shorter than this share of the picture's longer side: `docs/measured.md`."""
SEARCHED = 4.0
"""Side of the square around the pose's face in which the picture's is searched, in longer sides of its box."""
SURROUNDINGS = 2.5
"""Side of the square that is refined, in longer sides of the face's box."""
FEATHER = 0.15
"""Share of the square's side in which the old picture becomes the new one, at each of its edges."""


@dataclass(frozen=True)
class Square:
    """A square of a picture, in its pixels."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, face: Face, times: float, size: tuple[int, int], most: int) -> "Square":
        """Return the square of ``times`` the longer side of ``face``, moved into a picture of ``size`` (height, width).

        Its side is ``most`` at most, so that it is enlarged and not shrunk, and never beyond the picture's.
        """
        side = min(round(times * max(face.width_px, face.height_px)), most, *size)
        left, top = (
            int(np.clip(round(middle - side / 2), 0, whole - side))
            for middle, whole in zip(face.middle, reversed(size), strict=True)
        )
        return cls(left, top, max(side, 1))

    def of(self, image: np.ndarray) -> np.ndarray:
        """Return this part of ``image``, (side, side, …): a view."""
        return image[self.top : self.top + self.side, self.left : self.left + self.side]

    def enlarged(self, image: np.ndarray, side: int) -> np.ndarray:
        """Return this part of ``image``, (H, W, 3) uint8, as (``side``, ``side``, 3)."""
        return _resized(self.of(image), side)

    def face_in(self, face: Face, side: int) -> Face:
        """Return ``face`` as it lies in the part enlarged to ``side``."""
        return face.moved(-self.left, -self.top).scaled(side / self.side, side / self.side)


async def find_made_face(networks: Networks, image: np.ndarray, wanted: Face | None, side: int) -> Face | None:
    """Return the face of the finished picture, in its pixels, or None.

    ``image``: (H, W, 3) uint8 RGB. ``wanted``: the pose's face, near which it is searched, enlarged to ``side``: a face
    further from it than its longer side is somebody else's. None: the largest one is taken.
    """
    if wanted is None:
        return await analyse_face(networks, image)
    square = Square.around(wanted, SEARCHED, image.shape[:2], most=max(image.shape[:2]))
    found = await analyse_face(networks, square.enlarged(image, side))
    if found is None:
        return None
    found = found.scaled(square.side / side, square.side / side).moved(square.left, square.top)
    return found if _lies_at(found, wanted) else None


def _lies_at(found: Face, wanted: Face) -> bool:
    """Whether ``found`` is the face that was asked for; a neighbour's, larger than that, is not."""
    distance = np.linalg.norm(found.middle - wanted.middle)
    return bool(distance < max(wanted.width_px, wanted.height_px))


def is_small(face: Face, image: np.ndarray) -> bool:
    """Whether ``auto`` refines ``face`` of ``image``."""
    return max(face.width_px, face.height_px) < SMALL_SHARE * max(image.shape[:2])


def closer_pose(pose: Pose, square: Square, side: int) -> Pose:
    """Return what the pose picture shows in ``square``, enlarged to ``side``; its depth has still to be estimated."""
    face = square.face_in(pose.face, side) if pose.face else None
    return replace(pose, image=square.enlarged(pose.image, side), face=face)


def put_back(image: np.ndarray, square: Square, refined: np.ndarray) -> np.ndarray:
    """Return ``image`` with ``refined``, (S, S, 3) uint8, in ``square``; nothing outside it changes.

    Its colours are moved to those of the old picture in the border where the two are blended.
    """
    old, new = square.of(image).astype(np.float64), _resized(refined, square.side).astype(np.float64)
    weight = _weights(square, image.shape[:2])[..., None]
    border = (1 - weight) * np.ones_like(old)
    if border.any():
        new = new + ((old - new) * border).sum((0, 1)) / border.sum((0, 1))
    blended = old + weight * (new - old)
    result = image.copy()
    square.of(result)[:] = blended.round().clip(0, 255)
    return result


def preview_within(image: np.ndarray, square: Square, preview: np.ndarray, cell_px: int) -> np.ndarray:
    """Return a preview of the whole picture, one pixel a latent cell, with that of the second pass in its place."""
    height, width = (side // cell_px for side in image.shape[:2])
    whole = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
    small = Square(square.left // cell_px, square.top // cell_px, max(square.side // cell_px, 1))
    small.of(whole)[:] = _resized(preview, small.side)
    return whole


def _weights(square: Square, size: tuple[int, int]) -> np.ndarray:
    """Return the new picture's share, (side, side): 1 inside, falling to 0 at each edge that is not the picture's."""
    height, width = size
    across = _ramp(square.side, square.left > 0, square.left + square.side < width)
    down = _ramp(square.side, square.top > 0, square.top + square.side < height)
    return down[:, None] * across[None, :]


def _ramp(side: int, at_start: bool, at_end: bool) -> np.ndarray:
    place = (np.arange(side) + 0.5) / (FEATHER * side)
    rising = np.clip(place, 0, 1) if at_start else np.ones(side)
    falling = np.clip(place[::-1], 0, 1) if at_end else np.ones(side)
    linear = np.minimum(rising, falling)
    return linear**2 * (3 - 2 * linear)


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
