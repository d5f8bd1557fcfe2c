"""Which of Gradio's paths the page exposes, and how much may be sent to them."""

import json
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from insta_depth_gateway.errors import STATUS_BY_CODE, BadRequest, BodyTooLarge, GatewayError, NotFound
from insta_depth_gateway.page.uploads import UploadLimits, Uploads

BODY_BYTES_MAX = 2**20
"""Of a form's values; pictures are uploaded before and have their own limit."""

_EXACT = {"/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json"}
_FOLDERS = ("/assets/", "/static/", "/svelte/")
_API = "/gradio_api"
_API_EXACT = {"/queue/join", "/queue/data", "/cancel", "/reset", "/upload", "/upload_progress", "/startup-events"}
_API_EXACT |= {"/run/predict", "/app_id", "/info", "/theme.css"}
_API_FOLDERS = ("/heartbeat/",)
_FILE = "/file="


def is_open(path: str) -> bool:
    """Whether the page needs a path.

    Among others, this blocks those that fetch any address for anyone (``file=https://…``, ``proxy=``) and
    ``deep_link``, which would write a form with its key to a file.
    """
    if path in _EXACT or path.startswith(_FOLDERS):
        return True
    if not path.startswith(_API + "/"):
        return False
    rest = path.removeprefix(_API)
    is_local_file = rest.startswith(_FILE) and "://" not in rest and ":/" not in rest
    return is_local_file or rest.rstrip("/") in _API_EXACT or rest.startswith(_API_FOLDERS)


def names_remote_file(value: Any) -> bool:
    """Whether a form's values contain a picture's URL, which Gradio would fetch before any key is checked."""
    if isinstance(value, list):
        return any(names_remote_file(each) for each in value)
    if not isinstance(value, dict):
        return False
    path = value.get("path")
    is_remote = isinstance(path, str) and "://" in path
    return is_remote or any(names_remote_file(each) for each in value.values())


class RouteFilter:
    """An ASGI app that passes only what the page needs to ``app``."""

    def __init__(self, app: ASGIApp, uploads: UploadLimits) -> None:
        self._app = app
        self._uploads = Uploads(uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send) if scope["type"] == "lifespan" else None
        try:
            receive = await self._judged(scope, receive)
        except GatewayError as error:
            body, status = {"error": error.message, "code": error.code}, STATUS_BY_CODE[error.code]
            return await JSONResponse(body, status)(scope, receive, send)
        await self._app(scope, receive, send)

    async def _judged(self, scope: Scope, receive: Receive) -> Receive:
        """Return the ``receive`` for the request's body. Raises a `GatewayError` for a blocked request."""
        if not is_open(scope["path"]):
            raise NotFound(f"{scope['path'][:100]}: there is no such path")
        if scope["method"] != "POST":
            return receive
        if scope["path"].startswith(f"{_API}/upload"):
            self._uploads.admit(Headers(scope=scope))
            return receive
        body = await _read(Request(scope, receive))
        _judge(body)
        return _replay(body, receive)


def _judge(body: bytes) -> None:
    try:
        values = json.loads(body or b"null")
    except (ValueError, RecursionError):
        raise BadRequest("body: is not JSON") from None
    if names_remote_file(values):
        raise BadRequest("body: pictures are uploaded, not linked")


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise BodyTooLarge(f"body: the form's values are above the maximum {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
