"""The face in a picture of the request: searched as the published pipeline does, then more closely."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from insta_depth_shared.errors import FacesDiffer, FaceTooSmall

from .networks import Face, Networks, analyse_face

CLOSER_SIDE_PX = 2560
"""Maximum longer side of the picture in the second search."""
SURROUNDINGS = 8.0
"""Side of the crop around a face that is too small for an identity, in longer sides of its box."""


@dataclass(frozen=True)
class SentPicture:
    """A picture as resized for the networks, (H, W, 3) uint8 RGB, and access to the one that was sent.

    ``sent_size``: height and width in pixels of the one sent; ``decode``: decodes it again, which few requests need.
    """

    resized: np.ndarray
    sent_size: tuple[int, int]
    decode: Callable[[], np.ndarray]

    @property
    def has_more_pixels(self) -> bool:
        """Whether the picture sent has more pixels than ``resized``."""
        return max(self.sent_size) > max(self.resized.shape[:2])

    def closer(self) -> np.ndarray:
        """Return the picture sent, shrunk if it is larger than the second search needs."""
        sent = Image.fromarray(self.decode())
        sent.thumbnail((CLOSER_SIDE_PX, CLOSER_SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=None)
        return np.asarray(sent)

    def sent_px(self, face: Face) -> tuple[int, int]:
        """Convert the width and height of ``face`` from pixels of ``resized`` to pixels of the picture sent."""
        height, width = self.resized.shape[:2]
        sent_height, sent_width = self.sent_size
        return round(face.width_px * sent_width / width), round(face.height_px * sent_height / height)


async def find_face(networks: Networks, picture: SentPicture) -> Face | None:
    """Return the largest face, in pixels of ``picture.resized``, or None.

    If it shows no face and the picture sent has more pixels, search that too.
    """
    face = await analyse_face(networks, picture.resized)
    if face or not picture.has_more_pixels:
        return face
    closer = await asyncio.to_thread(picture.closer)
    found = await analyse_face(networks, closer)
    return found.scaled(*_ratios(picture.resized, closer)) if found else None


async def find_identity(networks: Networks, picture: SentPicture, field: str, needed_px: int) -> Face | None:
    """Like `find_face`, but analyse a small face again in the picture sent.

    This is done if a side of it is below ``needed_px`` and the picture sent has more pixels. All other faces come
    from the resized picture, as in the published pipeline. Raises `FaceTooSmall` if a side is below ``needed_px`` in
    the picture sent too.
    """
    face = await find_face(networks, picture)
    if face is None:
        return None
    width, height = picture.sent_px(face)
    if min(width, height) < needed_px:
        raise FaceTooSmall(
            f"{field}: the largest face is {width}×{height} pixels; its shorter side has to be {needed_px} at least"
        )
    if min(face.width_px, face.height_px) >= needed_px or not picture.has_more_pixels:
        return face
    return await _look_closer(networks, await asyncio.to_thread(picture.closer), picture, face)


def check_one_person(embeddings: Sequence[np.ndarray], names: Sequence[str], least_cosine: float) -> None:
    """Raise `FacesDiffer` where a face's cosine with the mean of the others is below ``least_cosine``.

    ``embeddings``: (512,) each, of any length; ``names``: of their pictures. The message names the most unlike one.
    """
    unit = np.stack([embedding / np.linalg.norm(embedding) for embedding in embeddings])
    others = unit.sum(axis=0) - unit
    cosines = (unit * others).sum(axis=1) / np.linalg.norm(others, axis=1)
    is_pair = len(names) == 2
    place = 1 if is_pair else int(np.argmin(cosines))
    if cosines[place] < least_cosine:
        rest = names[0] if is_pair else "the others"
        raise FacesDiffer(
            f"{names[place]}: shows another person than {rest}: the cosine of their embeddings is "
            f'{cosines[place]:.2f}, below {least_cosine:g}; leave it out, or set face_mismatch to "average"'
        )


async def _look_closer(networks: Networks, closer: np.ndarray, picture: SentPicture, face: Face) -> Face:
    """Analyse a crop of ``closer`` around ``face``; return the result in pixels of ``picture.resized``."""
    box = face.scaled(*_ratios(closer, picture.resized)).bbox
    side = SURROUNDINGS * max(box[2:] - box[:2])
    left, top = np.maximum((box[:2] + box[2:] - side) / 2, 0).astype(int)
    crop = np.ascontiguousarray(closer[top : top + int(side), left : left + int(side)])
    found = await analyse_face(networks, crop)
    return found.moved(left, top).scaled(*_ratios(picture.resized, closer)) if found else face


def _ratios(picture: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    return picture.shape[1] / other.shape[1], picture.shape[0] / other.shape[0]
