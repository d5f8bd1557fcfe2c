"""What callers of any HTTP service may expect of a path, whoever wrote it: HEAD, OPTIONS, a slash at its end, CORS."""

from collections.abc import Collection, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

ANSWER_HEADERS = (
    "x-remaining-credits",
    "x-cost",
    "x-seed",
    "x-generation-time",
    "x-queue-time",
    "x-request-id",
    "retry-after",
)
"""What a page in a browser may read of an answer, beside its body."""
_REQUEST_HEADERS = ("x-api-key", "content-type", "x-request-id")
_DAY_S = 86_400


class Manners:
    """ASGI middleware. ``paths``: all of the API; ``readable``: those that answer GET."""

    def __init__(self, app: ASGIApp, paths: Collection[str], readable: Collection[str]) -> None:
        self._app = app
        self._paths, self._readable = paths, readable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass as the router knows it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        if path in self._paths:
            scope["path"], scope["raw_path"] = path, path.encode()
        if path in self._readable and scope["method"] == "OPTIONS":
            await Response(status_code=204, headers={"Allow": "GET, HEAD, OPTIONS"})(scope, receive, send)
        elif path in self._readable and scope["method"] == "HEAD":
            # The server keeps the body back, by the method of its own scope.
            await self._app({**scope, "method": "GET"}, receive, send)
        else:
            await self._app(scope, receive, send)


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of ``origins``, or of any with ``*``, call ``app`` and read all that it answers, errors included."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=_REQUEST_HEADERS,
        expose_headers=ANSWER_HEADERS,
        max_age=_DAY_S,
    )
