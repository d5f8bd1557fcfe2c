"""A request. The server validates it; this module only checks what it needs to send it."""

import math
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

import numpy as np

from insta_depth._errors import InvalidInput, TooLarge
from insta_depth.addresses import MESSAGE_BYTES_MAX

ImageSource = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
"""An encoded picture (JPEG, PNG, …): its bytes, the path of its file, or a file opened for reading bytes."""

ImageSources = ImageSource | Sequence[ImageSource]
"""One picture, or several in a list or tuple."""

_LARGEST_FP32 = float(np.finfo(np.float32).max)


class RequiredAttributes(TypedDict):
    """The required attributes."""

    face_image: ImageSources
    pose_image: ImageSource
    prompt: str


class Attributes(RequiredAttributes, total=False):
    """Keyword arguments of `generate` and `stream`. The server has a default for those left out or None."""

    negative_prompt: str | None
    num_inference_steps: int | None
    guidance_scale: float | None
    seed: int | None
    ip_adapter_scale: float | None
    identitynet_scale: float | None
    depth_scale: float | None
    identitynet_start: float | None
    identitynet_end: float | None
    depth_start: float | None
    depth_end: float | None
    ip_adapter_start: float | None
    ip_adapter_end: float | None
    guidance_end: float | None
    speed: str | None
    refine_face: str | None
    refine_strength: float | None
    scheduler: str | None
    enhance_face_region: bool | None
    pose_without_face: str | None
    face_mismatch: str | None
    max_side: int | None
    output_format: str | None
    output_quality: int | None
    preview: bool | None


def _sent_as(datatype: str, about: str) -> dict[str, str]:
    return {"datatype": datatype, "about": about}


def _share(about: str) -> Any:
    return field(default=None, metadata=_sent_as("FP32", f"{about}, as a share of the steps, 0 to 1"))


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One request as it goes to the server: documented attributes under their documented names.

    `face_image` and `pose_image` accept any picture source, `face_image` a list of up to eight, too; the request keeps
    their bytes.
    Raises `InvalidInput` for a value that cannot be sent at all.
    """

    face_image: ImageSources = field(
        metadata=_sent_as("BYTES", "picture of the person, or up to eight of the same one")
    )
    pose_image: ImageSource = field(metadata=_sent_as("BYTES", "picture whose pose the person takes"))
    prompt: str = field(metadata=_sent_as("BYTES", "prompt to render"))
    negative_prompt: str | None = field(default=None, metadata=_sent_as("BYTES", "prompts to exclude"))
    num_inference_steps: int | None = field(
        default=None, metadata=_sent_as("INT32", "number of denoising steps, 4 to 100")
    )
    guidance_scale: float | None = field(
        default=None, metadata=_sent_as("FP32", "scale for classifier-free guidance, 1 to 15")
    )
    seed: int | None = field(
        default=None,
        metadata=_sent_as("INT64", "seed for image generation; -1 draws one; the same seed gives the same picture"),
    )
    ip_adapter_scale: float | None = field(
        default=None, metadata=_sent_as("FP32", "weight of the face's attention, 0 to 2")
    )
    identitynet_scale: float | None = field(
        default=None, metadata=_sent_as("FP32", "weight of the face's keypoints, 0 to 2")
    )
    depth_scale: float | None = field(
        default=None, metadata=_sent_as("FP32", "weight of the pose picture's depth, 0 to 2")
    )
    identitynet_start: float | None = _share("start of IdentityNet")
    identitynet_end: float | None = _share("end of IdentityNet")
    depth_start: float | None = _share("start of the depth")
    depth_end: float | None = _share("end of the depth")
    ip_adapter_start: float | None = _share("start of the face's attention")
    ip_adapter_end: float | None = _share("end of the face's attention")
    guidance_end: float | None = _share("end of guidance")
    speed: str | None = field(
        default=None, metadata=_sent_as("BYTES", "preset of what saves time: exact, balanced or fast")
    )
    refine_face: str | None = field(
        default=None, metadata=_sent_as("BYTES", "second pass over a small face: never, auto or always")
    )
    refine_strength: float | None = field(
        default=None, metadata=_sent_as("FP32", "share of the steps that the second pass takes, 0.2 to 0.6")
    )
    scheduler: str | None = field(
        default=None, metadata=_sent_as("BYTES", "sampler of the denoising steps; `insta-depth status` lists them")
    )
    enhance_face_region: bool | None = field(
        default=None, metadata=_sent_as("BOOL", "let the face act inside the pose's face box only")
    )
    pose_without_face: str | None = field(
        default=None, metadata=_sent_as("BYTES", "what to do where the pose picture shows no face: error or depth_only")
    )
    face_mismatch: str | None = field(
        default=None,
        metadata=_sent_as("BYTES", "what to do where the face pictures show different people: error or average"),
    )
    max_side: int | None = field(
        default=None,
        metadata=_sent_as("INT32", "longer side of the picture: a multiple of 64, at most the server's own"),
    )
    output_format: str | None = field(default=None, metadata=_sent_as("BYTES", "format of the file: jpeg, png or webp"))
    output_quality: int | None = field(
        default=None, metadata=_sent_as("INT32", "quality of a jpeg or webp file, 1 to 100")
    )
    preview: bool | None = field(
        default=None, metadata=_sent_as("BOOL", "a small picture with each step; streams only")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "face_image", read_pictures("face_image", self.face_image))
        object.__setattr__(self, "pose_image", read_picture("pose_image", self.pose_image))
        self.tensors()

    def tensors(self) -> dict[str, tuple[str, np.ndarray]]:
        """Return ``{name: (Triton datatype, array)}`` of the attributes that are set; the arrays' shape is (1,).

        Several pictures of the person are (n,).
        """
        given = {each.name: (each.metadata["datatype"], getattr(self, each.name)) for each in fields(self)}
        return {
            name: (datatype, _as_array(name, value, datatype))
            for name, (datatype, value) in given.items()
            if value is not None
        }


def read_pictures(name: str, sources: ImageSources) -> bytes | tuple[bytes, ...]:
    """Return the bytes of one source, or of each in a list or tuple; errors name its place."""
    if not isinstance(sources, list | tuple):
        return read_picture(name, sources)  # type: ignore[arg-type]
    if not sources:
        raise InvalidInput(f"{name}: the list is empty")
    return tuple(read_picture(f"{name}[{place}]", source) for place, source in enumerate(sources))


def read_picture(name: str, source: ImageSource) -> bytes:
    """Return the bytes of ``source``; errors name the attribute ``name``."""
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    elif isinstance(source, str | os.PathLike):
        content = _read_file(name, Path(source))
    elif hasattr(source, "read"):
        content = source.read(MESSAGE_BYTES_MAX + 1)
    else:
        raise InvalidInput(f"{name}: expected bytes, a path or an open file, not {type(source).__name__}")
    if not isinstance(content, bytes):
        raise InvalidInput(f"{name}: the file is open as text; open it in mode 'rb'")
    if len(content) > MESSAGE_BYTES_MAX:
        raise TooLarge(f"{name}: more than {MESSAGE_BYTES_MAX} bytes, the maximum of one message")
    return content


def checked_timeout_s(deadline_s: float | None, default_s: float | None) -> float | None:
    """Return a request's timeout: its own, else the client's; None means no limit."""
    name, seconds = ("timeout_s", default_s) if deadline_s is None else ("deadline_s", deadline_s)
    if seconds is None or seconds == math.inf:
        return None
    if not seconds > 0:
        raise InvalidInput(f"{name}: {seconds} is not above 0")
    return seconds


def _read_file(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MESSAGE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise InvalidInput(f"{name}: no such file: {path}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{name}: cannot read {str(path)!r}: {reason}") from None


def _as_array(name: str, value: Any, datatype: str) -> np.ndarray:
    """Return ``value`` as Triton takes it: shape (1,), (n,) of a tuple; dtype by ``datatype``."""
    if isinstance(value, tuple):
        return np.concatenate([_as_array(name, each, datatype) for each in value])
    try:
        return _CONVERT[datatype](value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"{name}: {_short(value)} is not {_KIND[datatype]}") from None


def _text_array(value: Any) -> np.ndarray:
    if isinstance(value, str):
        return np.array([value.encode()], dtype=object)
    if isinstance(value, bytes):
        return np.array([value], dtype=object)
    raise TypeError


def _integer_array(value: Any, dtype: type[np.signedinteger]) -> np.ndarray:
    if isinstance(value, bool):
        raise TypeError
    number, limits = operator.index(value), np.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise OverflowError
    return np.array([number], dtype=dtype)


def _number_array(value: Any) -> np.ndarray:
    if isinstance(value, bool | str | bytes):
        raise TypeError
    number = float(value)
    if math.isfinite(number) and abs(number) > _LARGEST_FP32:
        raise OverflowError
    return np.array([number], dtype=np.float32)


def _boolean_array(value: Any) -> np.ndarray:
    if not isinstance(value, bool | np.bool_):
        raise TypeError
    return np.array([value], dtype=bool)


_CONVERT = {
    "BYTES": _text_array,
    "INT32": lambda value: _integer_array(value, np.int32),
    "INT64": lambda value: _integer_array(value, np.int64),
    "FP32": _number_array,
    "BOOL": _boolean_array,
}

_KIND = {
    "BYTES": "text",
    "INT32": "a whole number of 32 bits",
    "INT64": "a whole number of 64 bits",
    "FP32": "a number of 32 bits",
    "BOOL": "true or false",
}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
