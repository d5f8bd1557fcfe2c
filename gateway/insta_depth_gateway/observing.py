"""Around every request: its id, one line in the log, its count, and an answer even where something broke."""

import logging
import re
import time
from collections.abc import Collection
from contextvars import ContextVar
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from insta_depth_gateway.metrics import Metrics

logger = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default="")

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Observer:
    """ASGI middleware; the outermost. Requests to other than ``paths`` are counted together."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass and note what came of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(scope, send)
        token = request_id.set(seen.id)
        try:
            await self._app(scope, receive, seen.send)
        except Exception:
            logger.exception("a request broke")
            if seen.status == 0:
                failure = {"error": "the request could not be processed", "code": "INTERNAL"}
                await JSONResponse(failure, 500)(scope, receive, seen.send)
        finally:
            self._note(scope, seen)
            request_id.reset(token)

    def _note(self, scope: Scope, seen: "_Seen") -> None:
        seconds, path = time.monotonic() - seen.started_s, scope["path"]
        self._metrics.answered(path if path in self._paths else "other", seen.status, seconds)
        state = scope.get("state", {})
        told = {
            "method": scope["method"][:20],
            "path": path[:100],
            "status": seen.status,
            "duration_ms": round(seconds * 1000, 1),
            "key": state.get("key"),
            "code": state.get("code"),
        }
        is_noted = path.startswith("/v1/") or seen.status >= 400  # probes and the page's parts would drown the rest
        logger.log(
            logging.INFO if is_noted else logging.DEBUG,
            "request",
            extra={name: value for name, value in told.items() if value is not None},
        )


class _Seen:
    """What goes by of one request."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if _ACCEPTED_ID.fullmatch(given) else uuid4().hex
        self.started_s = time.monotonic()
        self.status = 0
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)
