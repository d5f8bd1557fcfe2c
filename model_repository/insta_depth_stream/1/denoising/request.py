"""A request, and the validation of its attributes."""

import math
import reprlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from insta_depth_shared.attributes import ATTRIBUTES, MAX_SEED, RANDOM_SEED, Attribute
from insta_depth_shared.errors import InvalidInput, TooLarge
from insta_depth_shared.manifest import ImageFacts, Manifest

from .schedulers import SCHEDULERS
from .settings import Settings
from .windows import Window

WINDOWED = ("identitynet", "depth", "ip_adapter")
"""Controls with attributes for where they start and end."""
SPEEDS: Mapping[str, Mapping[str, float]] = {
    "exact": {},
    "balanced": {"guidance_end": 0.7},
    "fast": {"guidance_end": 0.5},
}
"""What each speed sets where the request does not; `docs/measured.md` has what it costs."""
_DTYPE_KINDS = {"text": "OSU", "picture": "OSU", "choice": "OSU", "flag": "b", "whole": "iu", "number": "f"}


@dataclass(frozen=True)
class PipelineRequest:
    """A request whose values are all valid. ``seed`` is the one to use, never -1."""

    prompt: str
    negative_prompt: str | None
    face_image: tuple[bytes, ...] = field(repr=False)
    pose_image: bytes = field(repr=False)
    num_inference_steps: int
    guidance_scale: float
    seed: int
    base64: bool
    ip_adapter_scale: float
    identitynet_scale: float
    depth_scale: float
    scheduler: str
    enhance_face_region: bool
    pose_without_face: str
    face_mismatch: str
    identitynet_start: float
    identitynet_end: float
    depth_start: float
    depth_end: float
    ip_adapter_start: float
    ip_adapter_end: float
    guidance_end: float
    speed: str
    refine_face: str
    refine_strength: float
    max_side: int
    output_format: str
    output_quality: int
    preview: bool

    @property
    def windows(self) -> dict[str, Window]:
        """When each control acts, by the name of its scale."""
        return {
            f"{control}_scale": Window(getattr(self, f"{control}_start"), getattr(self, f"{control}_end"))
            for control in WINDOWED
        }

    @property
    def face_names(self) -> list[str]:
        """What each picture of ``face_image`` is called: by its place, where there are several."""
        count = len(self.face_image)
        return ["face_image"] if count == 1 else [f"face_image[{place}]" for place in range(count)]

    @property
    def is_guided(self) -> bool:
        """Whether there is a negative row beside the positive one: at guidance 1 it would have no effect."""
        return self.guidance_scale > 1


def parse(tensors: Mapping[str, np.ndarray], manifest: Manifest, settings: Settings) -> PipelineRequest:
    """Parse the request in ``tensors``, with the manifest's defaults for attributes left out.

    Raises `InvalidInput` or `TooLarge`; the message starts with the attribute's name.
    """
    attributes = [_limited(item, manifest.image) for item in ATTRIBUTES]
    given = {item.name: _read(item, tensors[item.name]) for item in attributes if item.name in tensors}
    preset = SPEEDS[given.get("speed", manifest.defaults["speed"])]
    values = {"negative_prompt": None, "max_side": manifest.image.max_side, **manifest.defaults, **preset, **given}
    for item in ATTRIBUTES:
        if item.is_required and item.name not in values:
            raise InvalidInput(f"{item.name}: is required and missing")
    _check_prompts(values, settings.max_prompt_characters)
    if values["seed"] == RANDOM_SEED:
        values["seed"] = secrets.randbelow(MAX_SEED + 1)
    _check_scheduler(values["scheduler"], manifest.schedulers)
    _check_windows(values)
    if values["refine_face"] != "never" and not manifest.can_refine:
        raise InvalidInput(
            f"refine_face: {values['refine_face']!r} needs the engine vae_encoder, which export --no-refine left out"
        )
    return PipelineRequest(**values)


def _limited(attribute: Attribute, image: ImageFacts) -> Attribute:
    """Return the attribute with the checkpoint's own limits, if there are any."""
    if attribute.name != "max_side":
        return attribute
    return replace(attribute, minimum=image.smallest_max_side, maximum=image.max_side, multiple=image.multiple)


def _read(attribute: Attribute, tensor: np.ndarray) -> Any:
    if attribute.most > 1:
        return _several(attribute, tensor)
    element = _only_element(attribute, tensor)
    match attribute.kind:
        case "picture":
            return element
        case "flag":
            return bool(element)
        case "text":
            return _decoded(attribute.name, element)
        case "choice":
            return _chosen(attribute, _decoded(attribute.name, element))
        case "whole":
            return _within_range(attribute, int(element))
        case "number":
            return _within_range(attribute, _as_typed(element))


def _several(attribute: Attribute, tensor: np.ndarray) -> tuple[Any, ...]:
    if not 1 <= tensor.size <= attribute.most:
        raise InvalidInput(f"{attribute.name}: there are {tensor.size}, not 1 to {attribute.most}")
    return tuple(_only_element(attribute, element) for element in tensor.reshape(-1, 1))


def _only_element(attribute: Attribute, tensor: np.ndarray) -> Any:
    if tensor.size != 1:
        raise InvalidInput(f"{attribute.name}: shape {list(tensor.shape)} is not one value, [1]")
    if tensor.dtype.kind not in _DTYPE_KINDS[attribute.kind]:
        expected = attribute.triton_type.removeprefix("TYPE_")
        raise InvalidInput(f"{attribute.name}: {tensor.dtype} is not the type {expected}")
    element = tensor.reshape(-1)[0]
    return element.encode() if isinstance(element, str) else element


def _as_typed(value: np.floating) -> float:
    """The shortest decimal for this float: 0.8, where float32's exact value is 0.800000011920929."""
    return float(str(value))


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name}: is not UTF-8: {error.reason} at byte {error.start}") from None


def _chosen(attribute: Attribute, value: str) -> str:
    if value not in attribute.choices:
        allowed = ", ".join(attribute.choices)
        raise InvalidInput(f"{attribute.name}: {reprlib.repr(value)} is none of {allowed}")
    return value


def _check_scheduler(name: str, offered: Sequence[str]) -> None:
    if name not in offered:
        why = "does not fit this checkpoint, which offers" if name in SCHEDULERS else "is none of"
        raise InvalidInput(f"scheduler: {reprlib.repr(name)} {why} {', '.join(offered)}")


def _check_windows(values: Mapping[str, Any]) -> None:
    for control in WINDOWED:
        start, end = values[f"{control}_start"], values[f"{control}_end"]
        if start >= end:
            raise InvalidInput(f"{control}_start: {_shown(start)} is not below {control}_end, {_shown(end)}")


def _within_range(attribute: Attribute, value: float) -> float:
    shown, low, high = (_shown(number) for number in (value, attribute.minimum, attribute.maximum))
    if not math.isfinite(value):
        raise InvalidInput(f"{attribute.name}: {shown} is not a number from {low} to {high}")
    if value < attribute.minimum:
        raise InvalidInput(f"{attribute.name}: {shown} is below the minimum {low}")
    if value > attribute.maximum:
        raise InvalidInput(f"{attribute.name}: {shown} is above the maximum {high}")
    if attribute.kind == "whole" and value % attribute.multiple:
        raise InvalidInput(f"{attribute.name}: {shown} is not a multiple of {attribute.multiple}")
    return value


def _shown(number: float) -> str:
    """As a user would type it: 0.9, 16 and 1000000000000000."""
    return str(number).removesuffix(".0")


def _check_prompts(values: Mapping[str, Any], max_characters: int) -> None:
    if not values["prompt"].strip():
        raise InvalidInput("prompt: is empty")
    for name in ("prompt", "negative_prompt"):
        length = len(values[name] or "")
        if length > max_characters:
            raise TooLarge(f"{name}: {length} characters are above the maximum {max_characters}")
