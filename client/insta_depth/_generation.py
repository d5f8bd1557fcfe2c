"""Responses: progress after every step, then the picture."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from insta_depth._errors import InstaDepthError

Response = Mapping[str, Any]
"""One response of the server: its outputs by name, as Python values; text and pictures are bytes."""

SEVERAL = "warnings"
"""The output that is a list."""


@dataclass(frozen=True)
class Progress:
    """Step ``step`` of ``num_inference_steps`` is done.

    ``preview`` is a small JPEG of the picture so far where the request asked for previews.
    ``ahead`` is above 0 where the request waits: so many others are served first.
    """

    step: int
    num_inference_steps: int
    preview: bytes | None = field(default=None, repr=False)
    ahead: int = 0


@dataclass(frozen=True)
class Generation:
    """The finished picture.

    ``image``: the encoded file; ``seed``: the one that was used; ``timings``: milliseconds by stage;
    ``pose_face``: False if the pose picture had no face, so that only its depth was used; ``refined``: whether a
    second pass over the face was made; ``warnings``: sentences about values that do little good with the checkpoint.
    """

    image: bytes = field(repr=False)
    seed: int
    timings: dict[str, float] = field(default_factory=dict)
    pose_face: bool = True
    refined: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def output_format(self) -> str:
        """``jpeg``, ``png`` or ``webp``, by the first bytes of `image`."""
        if self.image.startswith(b"\x89PNG"):
            return "png"
        if self.image.startswith(b"RIFF"):
            return "webp"
        return "jpeg"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to ``path`` atomically and return the path."""
        return write_atomically(Path(path), self.image)


def read_response(response: Response) -> Progress | Generation | None:
    """Parse a response; return None if it carries neither progress nor a picture."""
    if "image" in response:
        return Generation(
            image=response["image"],
            seed=response["seed"],
            timings=json.loads(response.get("timings", "{}")),
            pose_face=response.get("pose_face", True),
            refined=response.get("refined", False),
            warnings=tuple(text.decode() for text in response.get(SEVERAL, ())),
        )
    if "step" in response:
        return Progress(
            response["step"], response["num_inference_steps"], response.get("preview"), response.get("ahead", 0)
        )
    return None


def ended_early() -> InstaDepthError:
    """Return the error for a stream that ended without a picture."""
    return InstaDepthError("the server ended the answer without a picture")


def write_atomically(path: Path, content: bytes) -> Path:
    """Write ``content`` to a temporary file beside ``path``, then rename it: no reader sees half a file."""
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return path
