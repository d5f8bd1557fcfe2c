"""The form's fields: name in the API, limits and initial value."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insta_depth import Capabilities

from insta_depth_gateway.body import MAX_SEED
from insta_depth_gateway.errors import BadRequest

PICTURES = {"face_image": "Face picture", "pose_image": "Pose picture"}
SERVERS_CHOICE = ""
"""A value that is not sent: the server's default applies."""


@dataclass(frozen=True)
class Range:
    """A number's limits and its default, as documented."""

    minimum: float
    maximum: float
    default: float
    step: float


RANGES = {
    "num_inference_steps": Range(4, 100, 10, 1),
    "guidance_scale": Range(1, 15, 3, 0.5),
    "seed": Range(-1, MAX_SEED, -1, 1),
    "ip_adapter_scale": Range(0, 2, 0.8, 0.05),
    "identitynet_scale": Range(0, 2, 0.8, 0.05),
    "depth_scale": Range(0, 2, 0.5, 0.05),
}

EXTENSIONS: dict[str, Any] = {
    "ip_adapter_scale": RANGES["ip_adapter_scale"].default,
    "identitynet_scale": RANGES["identitynet_scale"].default,
    "depth_scale": RANGES["depth_scale"].default,
    "scheduler": SERVERS_CHOICE,
    "enhance_face_region": True,
    "pose_without_face": False,
    "max_side": 0,
}
"""Fields that are not in the documented API, with the server's defaults."""


def scheduler_choices(offers: Capabilities) -> list[tuple[str, str]]:
    """Return labels and values of the schedulers that the served checkpoint offers, its own first."""
    own = f"the checkpoint's own ({name})" if (name := offers.default_scheduler) else "the checkpoint's own"
    return [(own.replace(" (checkpoint)", ""), SERVERS_CHOICE), *((name, name) for name in offers.schedulers)]


def settings(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return all attributes but the pictures: the documented ones, and the extensions that were changed."""
    changed = {name: form[name] for name, default in EXTENSIONS.items() if form[name] not in (None, default)}
    if "pose_without_face" in changed:
        changed["pose_without_face"] = "depth_only"
    if "max_side" in changed:
        changed["max_side"] = _whole(changed["max_side"])
    documented = {
        "prompt": form["prompt"] or "",
        "negative_prompt": form["negative_prompt"] or None,
        "num_inference_steps": _whole(form["num_inference_steps"]),
        "guidance_scale": form["guidance_scale"],
        "seed": _whole(form["seed"]),
    }
    return {name: value for name, value in documented.items() if value is not None} | changed


def request_attributes(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a `GenerationRequest` with previews. Raises `BadRequest` for what is missing."""
    pictures = {name: _read_upload(label, form[name]) for name, label in PICTURES.items()}
    if not (form["prompt"] or "").strip():
        raise BadRequest("Prompt: say what to render")
    return pictures | settings(form) | {"preview": True}


def _read_upload(label: str, path: str | None) -> bytes:
    if not path:
        raise BadRequest(f"{label}: choose a file")
    try:
        Path(path).touch(exist_ok=True)  # uploads are deleted by their age since their last use
        return Path(path).read_bytes()
    except OSError:
        raise BadRequest(f"{label}: the upload has been deleted meanwhile; choose the file again") from None


def _whole(number: float | None) -> int | None:
    """Return a whole number as `int`: browsers send 10 and 10.0 alike."""
    return int(number) if number is not None else None
