"""The attributes of a request, one row each.

Export writes the inputs of both models that take requests from these rows, the manifest takes its defaults from them,
and the orchestrator validates with them. Tests compare the client, the gateway and docs/api.md with them.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from .pictures import WRITABLE

MAX_SEED = 999_999_999_999_999
RANDOM_SEED = -1


@dataclass(frozen=True)
class Attribute:
    """One input tensor of ``insta_depth`` and ``insta_depth_stream``, of one element, or of up to ``most``.

    ``default``: used if a request leaves it out; None: there is none, or the checkpoint sets it, see ``parse``.
    ``is_documented``: part of the documented API; the others are extensions.
    """

    name: str
    kind: Literal["text", "picture", "choice", "flag", "whole", "number"]
    triton_type: str
    about: str
    default: Any = None
    is_required: bool = False
    is_documented: bool = False
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    multiple: int = 1
    most: int = 1


def _documented(name: str, kind: Any, triton_type: str, about: str, default: Any = None, **limits: Any) -> Attribute:
    return Attribute(name, kind, triton_type, about, default, is_documented=True, **limits)


def _share(name: str, about: str, default: float) -> Attribute:
    about = f"{about}, as a share of the steps"
    return Attribute(name, "number", "TYPE_FP32", about, default, minimum=0, maximum=1)


ATTRIBUTES = (
    _documented("prompt", "text", "TYPE_STRING", "prompt to render", is_required=True),
    _documented(
        "face_image",
        "picture",
        "TYPE_STRING",
        "picture of the person, or up to eight of the same one",
        is_required=True,
        most=8,
    ),
    _documented("pose_image", "picture", "TYPE_STRING", "picture whose pose the person takes", is_required=True),
    _documented("negative_prompt", "text", "TYPE_STRING", "prompts to exclude"),
    _documented("num_inference_steps", "whole", "TYPE_INT32", "number of denoising steps", 10, minimum=4, maximum=100),
    _documented(
        "guidance_scale", "number", "TYPE_FP32", "scale for classifier-free guidance", 3.0, minimum=1, maximum=15
    ),
    _documented(
        "seed",
        "whole",
        "TYPE_INT64",
        "seed for image generation; -1 draws one",
        RANDOM_SEED,
        minimum=RANDOM_SEED,
        maximum=MAX_SEED,
    ),
    _documented("base64", "flag", "TYPE_BOOL", "base64 encoding of the output image", True),
    Attribute("ip_adapter_scale", "number", "TYPE_FP32", "weight of the face's attention", 0.8, minimum=0, maximum=2),
    Attribute("identitynet_scale", "number", "TYPE_FP32", "weight of the face's keypoints", 0.8, minimum=0, maximum=2),
    Attribute("depth_scale", "number", "TYPE_FP32", "weight of the pose picture's depth", 0.5, minimum=0, maximum=2),
    _share("identitynet_start", "start of IdentityNet", 0),
    _share("identitynet_end", "end of IdentityNet", 1),
    _share("depth_start", "start of the depth", 0),
    _share("depth_end", "end of the depth", 1),
    _share("ip_adapter_start", "start of the face's attention", 0),
    _share("ip_adapter_end", "end of the face's attention", 1),
    _share("guidance_end", "end of guidance", 1),
    Attribute(
        "speed",
        "choice",
        "TYPE_STRING",
        "preset of what saves time",
        "exact",
        choices=("exact", "balanced", "fast"),
    ),
    Attribute(
        "refine_face",
        "choice",
        "TYPE_STRING",
        "second pass over a small face",
        "never",
        choices=("never", "auto", "always"),
    ),
    Attribute(
        "refine_strength",
        "number",
        "TYPE_FP32",
        "share of the steps that the second pass takes",
        0.4,
        minimum=0.2,
        maximum=0.6,
    ),
    # The manifest lists the names, and says which is the default.
    Attribute("scheduler", "text", "TYPE_STRING", "sampler of the denoising steps", "euler"),
    Attribute("enhance_face_region", "flag", "TYPE_BOOL", "let the face act inside the pose's face box only", True),
    Attribute(
        "pose_without_face",
        "choice",
        "TYPE_STRING",
        "what to do where the pose picture shows no face",
        "error",
        choices=("error", "depth_only"),
    ),
    Attribute(
        "face_mismatch",
        "choice",
        "TYPE_STRING",
        "what to do where the face pictures show different people",
        "error",
        choices=("error", "average"),
    ),
    # Its limits and default are the checkpoint's.
    Attribute("max_side", "whole", "TYPE_INT32", "longer side of the picture", minimum=64, multiple=64),
    Attribute("output_format", "choice", "TYPE_STRING", "format of the file", "jpeg", choices=WRITABLE),
    Attribute("output_quality", "whole", "TYPE_INT32", "quality of a jpeg or webp file", 95, minimum=1, maximum=100),
    Attribute("preview", "flag", "TYPE_BOOL", "a small picture with each step; streams only", False),
)

DEFAULTS = {attribute.name: attribute.default for attribute in ATTRIBUTES if attribute.default is not None}
"""Values of the attributes that a request leaves out; a checkpoint's manifest has its own scheduler."""
