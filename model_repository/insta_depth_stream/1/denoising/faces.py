"""The face that a picture of the request shows: looked for where the published pipeline does, then more closely."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from insta_depth_shared.errors import FaceTooSmall
from PIL import Image

from .networks import Face, Networks, analyse_face

CLOSER_SIDE_PX = 2560
"""The longer side at most of the picture that a second look sees."""


@dataclass(frozen=True)
class SentPicture:
    """A picture as the networks see it, (H, W, 3) uint8 RGB, and the way back to the one that was sent.

    ``sent_size``: its height and width in pixels; ``decode``: reads it anew, since few requests need it twice.
    """

    resized: np.ndarray
    sent_size: tuple[int, int]
    decode: Callable[[], np.ndarray]

    @property
    def has_more_pixels(self) -> bool:
        """Whether there is more to see than in ``resized``."""
        return max(self.sent_size) > max(self.resized.shape[:2])

    def closer(self) -> np.ndarray:
        """Return what was sent, shrunk where it is larger than a second look needs."""
        sent = Image.fromarray(self.decode())
        sent.thumbnail((CLOSER_SIDE_PX, CLOSER_SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=None)
        return np.asarray(sent)

    def sent_px(self, face: Face) -> tuple[int, int]:
        """Return the width and height of ``face``, given in pixels of ``resized``, in those of the picture sent."""
        height, width = self.resized.shape[:2]
        sent_height, sent_width = self.sent_size
        return round(face.width_px * sent_width / width), round(face.height_px * sent_height / height)


async def find_face(networks: Networks, picture: SentPicture, needed_px: int = 0) -> Face | None:
    """Return the largest face, in pixels of ``picture.resized``, or None.

    Where that shows no face, or one with a shorter side below ``needed_px``, and more pixels were sent, those are
    searched too.
    """
    face = await analyse_face(networks, picture.resized)
    seen_px = min(face.width_px, face.height_px) if face else -1
    if seen_px >= needed_px or not picture.has_more_pixels:
        return face
    closer = await asyncio.to_thread(picture.closer)
    found = await analyse_face(networks, closer)
    return found.scaled(*_ratios(picture.resized, closer)) if found else face


async def find_identity(networks: Networks, picture: SentPicture, field: str, needed_px: int) -> Face | None:
    """Do as `find_face` does; raises `FaceTooSmall` where the person cannot be told from the face that was sent."""
    face = await find_face(networks, picture, needed_px)
    if face is not None and min(picture.sent_px(face)) < needed_px:
        width, height = picture.sent_px(face)
        raise FaceTooSmall(
            f"{field}: the largest face is {width}×{height} pixels; its shorter side has to be {needed_px} at least"
        )
    return face


def _ratios(picture: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    return picture.shape[1] / other.shape[1], picture.shape[0] / other.shape[0]
