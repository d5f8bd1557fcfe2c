"""What comes back: progress at every step, and at last the picture."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insta_depth._errors import InstaDepthError
from insta_depth._files import write_atomically

Response = Mapping[str, Any]
"""One response of the server: the outputs that it carries by name, as Python values; text and pictures as bytes."""


@dataclass(frozen=True)
class Progress:
    """Step ``step`` of ``num_inference_steps`` is done.

    ``preview`` is a small JPEG of the picture so far where the request asked for previews.
    """

    step: int
    num_inference_steps: int
    preview: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Generation:
    """The finished picture.

    ``image``: the encoded file; ``seed``: the one that was used; ``timings``: milliseconds by stage;
    ``pose_face``: False where the pose picture had no face and only its depth was followed.
    """

    image: bytes = field(repr=False)
    seed: int
    timings: dict[str, float] = field(default_factory=dict)
    pose_face: bool = True

    @property
    def output_format(self) -> str:
        """``jpeg``, ``png`` or ``webp``, by the first bytes of `image`."""
        if self.image.startswith(b"\x89PNG"):
            return "png"
        if self.image.startswith(b"RIFF"):
            return "webp"
        return "jpeg"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to ``path``, whole or not at all, and return the path."""
        return write_atomically(Path(path), self.image)


def read_response(response: Response) -> Progress | Generation | None:
    """Return what a response says, or None where it carries neither progress nor picture."""
    if "image" in response:
        return Generation(
            image=response["image"],
            seed=response["seed"],
            timings=json.loads(response.get("timings", "{}")),
            pose_face=response.get("pose_face", True),
        )
    if "step" in response:
        return Progress(response["step"], response["num_inference_steps"], response.get("preview"))
    return None


def ended_early() -> InstaDepthError:
    """Return the error for a stream that ended without a picture."""
    return InstaDepthError("the server ended the answer without a picture")
