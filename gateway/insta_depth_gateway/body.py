"""The request body: the documented attributes, the server's extensions, and validation errors."""

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from insta_depth_gateway.errors import BadRequest

_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")

MAX_SEED = 999_999_999_999_999
PICTURES = ("face_image", "pose_image")
SEVERAL, MOST_FACES = "face_image", 8
"""The picture of which there may be several, and how many."""


def _whole(value: Any) -> Any:
    """JSON has one number type: 10.0 is 10."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: Any) -> Any:
    """The product's page writes the default of ``base64`` as 1."""
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Quality = Annotated[int, Field(ge=1, le=100), BeforeValidator(_whole)]
Side = Annotated[int, Field(ge=64, multiple_of=64), BeforeValidator(_whole)]
Scale = Annotated[float, Field(ge=0, le=2)]
Strength = Annotated[float, Field(ge=0.2, le=0.6)]
Share = Annotated[float, Field(ge=0, le=1)]
Picture = Annotated[
    # not strict: JSON has no bytes, so they come as text
    bytes,
    Field(strict=False, min_length=1, json_schema_extra={"format": "byte", "contentEncoding": "base64"}),
]

Pictures = Annotated[
    Annotated[Picture, Tag("one")]
    | Annotated[list[Picture], Tag("several"), Field(min_length=1, max_length=MOST_FACES)],
    Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
]


def _share(about: str) -> Any:
    return Field(None, description=f"Extension: {about}, as a share of the steps.")


class GenerationBody(BaseModel):
    """A person's picture, a pose and a prompt.

    Each picture is a file (JPEG, PNG, WebP, GIF, BMP or TIFF) in base64 or as a base64 data URI, or an https URL where
    the operator turned that on. In a multipart form it may be the file itself. Several faces are a list in JSON and a
    repeated field in a form.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: str = Field(min_length=1, description="Prompt to render.")
    negative_prompt: str | None = Field(
        None, description="Prompts to exclude, eg. 'bad anatomy, bad hands, missing fingers'."
    )
    face_image: Pictures = Field(description="Picture of the person, or up to eight of the same one.")
    pose_image: Picture = Field(description="Picture whose pose the person takes.")
    num_inference_steps: Whole = Field(10, ge=4, le=100, description="Number of denoising steps. Affects pricing.")
    guidance_scale: float = Field(3, ge=1, le=15, description="Scale for classifier-free guidance.")
    seed: Whole = Field(-1, ge=-1, le=MAX_SEED, description="Seed for image generation; -1 draws one.")
    base64: Flag = Field(True, description="Base64 encoding of the output image; 0 and 1 are understood, too.")

    ip_adapter_scale: Scale | None = Field(None, description="Extension: weight of the face's attention.")
    identitynet_scale: Scale | None = Field(None, description="Extension: weight of the face's keypoints.")
    depth_scale: Scale | None = Field(None, description="Extension: weight of the pose picture's depth.")
    identitynet_start: Share | None = _share("start of IdentityNet")
    identitynet_end: Share | None = _share("end of IdentityNet")
    depth_start: Share | None = _share("start of the depth")
    depth_end: Share | None = _share("end of the depth")
    ip_adapter_start: Share | None = _share("start of the face's attention")
    ip_adapter_end: Share | None = _share("end of the face's attention")
    guidance_end: Share | None = _share("end of guidance")
    speed: Literal["exact", "balanced", "fast"] | None = Field(
        None, description="Extension: preset of what saves time."
    )
    refine_face: Literal["never", "auto", "always"] | None = Field(
        None, description="Extension: second pass over a small face."
    )
    refine_strength: Strength | None = Field(
        None, description="Extension: share of the steps that the second pass takes."
    )
    scheduler: str | None = Field(
        None,
        description="Extension: sampler of the denoising steps, eg. 'euler'; the checkpoint says which there are.",
    )
    enhance_face_region: Flag | None = Field(
        None, description="Extension: let the face act inside the pose's face box only."
    )
    pose_without_face: Literal["error", "depth_only"] | None = Field(
        None, description="Extension: what to do where the pose picture shows no face."
    )
    face_mismatch: Literal["error", "average"] | None = Field(
        None, description="Extension: what to do where the face pictures show different people."
    )
    max_side: Side | None = Field(
        None, description="Extension: longer side of the picture, from half the server's own up to it."
    )
    output_format: Literal["jpeg", "png", "webp"] | None = Field(None, description="Extension: format of the file.")
    output_quality: Quality | None = Field(None, description="Extension: quality of a jpeg or webp file.")
    preview: Flag | None = Field(None, description="Extension: a small picture with each step; streams only.")

    @model_validator(mode="before")
    @classmethod
    def _is_given(cls, fields: Any) -> Any:
        """Stop at the first unknown field: pydantic would report each of a million. Drop null values."""
        unknown = (
            next((name for name in fields if name not in cls.model_fields), None) if isinstance(fields, dict) else None
        )
        if unknown is not None:
            raise PydanticCustomError(
                "unknown_field", "{name}: is not an attribute of this API", {"name": _short(unknown)}
            )
        return (
            {name: value for name, value in fields.items() if value is not None} if isinstance(fields, dict) else fields
        )

    def attributes(self) -> dict[str, Any]:
        """Return the attributes for the client; those left out get the served checkpoint's default."""
        return self.model_dump(exclude={"base64"}, exclude_unset=True)


def from_json(content: bytes) -> GenerationBody:
    """Parse JSON text. Raises `BadRequest`."""
    if content.startswith(_UTF16_MARKS) or b"\0" in content[:4]:
        raise BadRequest("body: is JSON in UTF-16 or UTF-32; it has to be UTF-8")
    try:
        return GenerationBody.model_validate_json(content.removeprefix(_UTF8_MARK))
    except ValidationError as error:
        raise _refusal(error) from None


FormValue = str | bytes | list[str | bytes]


def from_form(fields: Mapping[str, FormValue]) -> GenerationBody:
    """Parse a form, whose values are text and picture files, or a list of these.

    Raises `BadRequest`. Browsers also send empty fields: an empty optional attribute counts as left out.
    """
    optional = {name for name, about in GenerationBody.model_fields.items() if not about.is_required()}
    given = {
        name: value
        for name, value in fields.items()
        if name not in optional or isinstance(value, list) or value.strip()
    }
    try:
        return GenerationBody.model_validate(given, strict=False)
    except ValidationError as error:
        raise _refusal(error) from None


_WRONG = {
    "missing": "is required and missing",
    "greater_than_equal": "{value} is below the minimum {ge}",
    "less_than_equal": "{value} is above the maximum {le}",
    "multiple_of": "{value} is not a multiple of {multiple_of}",
    "string_too_short": "is empty",
    "bytes_too_short": "is empty",
    "too_short": "the list is empty",
    "too_long": "{actual_length} are above the maximum {max_length}",
    "literal_error": "{value} is none of {expected}",
    "finite_number": "{value} is not a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "{value} is not a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "{value} is not a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "{value} is neither true nor false"),
    **dict.fromkeys(("string_type", "bytes_type"), "{value} is not text"),
}


def _refusal(error: ValidationError) -> BadRequest:
    """Return the first validation error, with its field, value and limit."""
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "json_invalid":
        return BadRequest(f"body: {problem['msg'][0].lower()}{problem['msg'][1:]}")
    if problem["type"] == "unknown_field":
        return BadRequest(problem["msg"])
    if not problem["loc"]:
        return BadRequest("body: is not a JSON object")
    said = _WRONG.get(problem["type"])
    context = problem.get("ctx", {}) | {"value": reprlib.repr(problem["input"])}
    return BadRequest(f"{_field(problem['loc'])}: {said.format(**context) if said else problem['msg']}")


def _field(place: tuple[int | str, ...]) -> str:
    """The field of an error, with the number of the picture where there are several."""
    number = f"[{place[2]}]" if place[1:2] == ("several",) and len(place) > 2 else ""
    return _short(place[0]) + number


def _short(name: object) -> str:
    text = str(name)
    return text if len(text) <= 60 else f"{text[:57]}…"
