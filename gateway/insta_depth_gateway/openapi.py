"""The OpenAPI document: the parts that FastAPI does not derive from the code.

``python -m insta_depth_gateway.openapi`` prints the whole document, which ``docs/openapi.json`` keeps.
"""

import json
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from insta_depth_gateway.answers import CreditsBody, ErrorBody, OfferBody
from insta_depth_gateway.body import MOST_FACES, PICTURES, SEVERAL, GenerationBody

TITLE = "Insta Depth on Triton"
DESCRIPTION = (
    "One picture of a person, one picture of a pose and a prompt in; a picture of that person in that pose out."
)

_SCHEMA = GenerationBody.model_json_schema()

_WHY = {
    400: "A field is missing, malformed or out of range.",
    401: "User authentication failed: the key is missing, unknown or revoked.",
    404: "The requested URL does not exist.",
    405: "The requested HTTP method is not allowed.",
    406: "Not enough credits.",
    413: "The body or a picture is too large.",
    422: "No face in a picture that needs one; one in `face_image` that is too small; several of different people.",
    429: "The key sent more requests than it may in a minute.",
    500: "Server had some issue with processing.",
    503: "The server is full, starting or stopping: try again after Retry-After seconds.",
}


def _header(about: str, kind: str = "number") -> dict[str, Any]:
    return {"description": about, "schema": {"type": kind}}


_REQUEST_ID = {"x-request-id": _header("Names this request in the gateway's log; one that was sent is kept.", "string")}
_REMAINING = {"x-remaining-credits": _header("Credits that the key has left.")}
_RETRY = {"Retry-After": _header("Seconds after which to try again.", "integer")}
_PICTURE_HEADERS = {
    **_REMAINING,
    **_REQUEST_ID,
    "x-cost": _header("Credits that the picture cost."),
    "x-seed": _header("The seed that was used.", "integer"),
    "x-generation-time": _header("Seconds that Triton worked."),
    "x-queue-time": _header("Seconds that the request waited for its turn."),
    "x-warnings": _header("Values of the request that do little good with the served checkpoint, if any.", "string"),
}


def _errors(*statuses: int, of_a_key: bool = True) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": _WHY[status],
            "model": ErrorBody,
            "headers": _REQUEST_ID
            | (_REMAINING if of_a_key and status != HTTPStatus.UNAUTHORIZED else {})
            | (_RETRY if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) else {}),
        }
        for status in statuses
    }


def _form_schema() -> dict[str, Any]:
    """The same attributes in a form, where pictures may be files and nothing is null."""
    file = {"type": "string", "format": "binary"}
    files = {"oneOf": [file, {"type": "array", "items": file, "minItems": 1, "maxItems": MOST_FACES}]}
    pictures = {**dict.fromkeys(PICTURES, file), SEVERAL: files}
    properties = {name: pictures.get(name) or _without_null(about) for name, about in _SCHEMA["properties"].items()}
    return {**_SCHEMA, "title": "GenerationForm", "properties": properties}


def _without_null(about: dict[str, Any]) -> dict[str, Any]:
    value, *_ = about.get("anyOf", [{}])
    return {**{name: part for name, part in about.items() if name != "anyOf"}, **value}


SCHEMAS = {"GenerationBody": _SCHEMA, "GenerationForm": _form_schema()}
"""Schemas that FastAPI does not see, because the endpoints read their bodies themselves."""


def _reference(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


_REQUEST_BODY = {
    "required": True,
    "content": {"application/json": _reference("GenerationBody"), "multipart/form-data": _reference("GenerationForm")},
}
_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_IMAGE_IN_JSON = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
        "required": ["image"],
    }
}
_EVENTS = """\
Events: `waiting` (`ahead`: requests that are served first), `progress` (`step`, `num_inference_steps`, and `preview` in
base64 where asked for), then `image` (`image` in base64, `output_format`, `seed`, `pose_face`, `refined`, `warnings`,
`cost`, `remaining_credits`, `queue_time`, `generation_time`), or `error` (`error`, `code`). `x-cost` is the most that
it may cost, with a second pass over the face; `cost` is what it did. What is wrong before the first event is answered
with a status. Closing the connection cancels the work and costs nothing."""

GENERATE: dict[str, Any] = {
    "operation_id": "generate",
    "summary": "Make a picture",
    "responses": {
        200: {
            "description": "Image generated: JSON with base64, or the file itself with `base64: false`.",
            "headers": _PICTURE_HEADERS,
            "content": {
                "application/json": _IMAGE_IN_JSON,
                **{f"image/{kind}": _IMAGE for kind in ("jpeg", "png", "webp")},
            },
        },
        **_errors(400, 401, 404, 405, 406, 413, 422, 429, 500, 503),
    },
    "openapi_extra": {"requestBody": _REQUEST_BODY},
}
STREAM: dict[str, Any] = {
    "operation_id": "stream",
    "summary": "Make a picture, with progress",
    "responses": {
        200: {
            "description": _EVENTS,
            "headers": {**_REMAINING, **_REQUEST_ID, "x-cost": _PICTURE_HEADERS["x-cost"]},
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **_errors(400, 401, 404, 405, 406, 413, 422, 429, 500, 503),
    },
    "openapi_extra": {"requestBody": _REQUEST_BODY},
}
CREDITS: dict[str, Any] = {
    "operation_id": "get_user_credits",
    "summary": "Credits left",
    "responses": {
        200: {"description": "What the key has left.", "model": CreditsBody, "headers": {**_REMAINING, **_REQUEST_ID}},
        **_errors(401, 405, 500, 503),
    },
}
ATTRIBUTES: dict[str, Any] = {
    "operation_id": "attributes",
    "summary": "What a request may say",
    "responses": {
        200: {
            "description": "Attributes, ranges and defaults, the checkpoint's schedulers, and prices; no key.",
            "model": OfferBody,
            "headers": _REQUEST_ID,
        },
        **_errors(405, of_a_key=False),
    },
}
HEALTH: dict[str, Any] = {
    "operation_id": "healthz",
    "summary": "The gateway runs",
    "responses": {200: {"description": "It does.", "headers": _REQUEST_ID}, **_errors(405, of_a_key=False)},
}
READY: dict[str, Any] = {
    "operation_id": "readyz",
    "summary": "Requests can be served",
    "responses": {
        200: {"description": "Accounts can be read and Triton has our models.", "headers": _REQUEST_ID},
        **_errors(405, 500, 503, of_a_key=False),
    },
}
METRICS: dict[str, Any] = {
    "operation_id": "metrics",
    "summary": "Prometheus metrics",
    "responses": {
        200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **_errors(405, of_a_key=False),
    },
}


def attributes(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return every attribute's schema by name, with ``defaults``, the served checkpoint's, in place of the API's."""
    found = {}
    for name, kind in _SCHEMA["properties"].items():
        about = _without_null(kind)
        default = defaults.get(name, about.pop("default", None))
        found[name] = about if default is None else {**about, "default": default}
    return found


def document() -> dict[str, Any]:
    """Return the document as `GET /openapi.json` answers it."""
    from insta_depth_gateway.app import create_api  # which imports this module

    return create_api().openapi()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")
