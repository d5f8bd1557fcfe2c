"""General HTTP behaviour for every path: HEAD, OPTIONS, trailing slashes, CORS."""

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
"""Response headers that scripts in a browser may read."""
_REQUEST_HEADERS = ("x-api-key", "content-type", "x-request-id")
_DAY_S = 86_400


class HttpConventions:
    """ASGI middleware. ``paths``: all of the API; ``readable``: those that answer GET."""

    def __init__(self, app: ASGIApp, paths: Collection[str], readable: Collection[str]) -> None:
        self._app = app
        self._paths, self._readable = paths, readable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on in the form that the router expects."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        if path in self._paths:
            scope["path"], scope["raw_path"] = path, path.encode()
        if path in self._readable and scope["method"] == "OPTIONS":
            await Response(status_code=204, headers={"Allow": "GET, HEAD, OPTIONS"})(scope, receive, send)
        elif path in self._readable and scope["method"] == "HEAD":
            # The server omits the body, by the method in its own scope.
            await self._app({**scope, "method": "GET"}, receive, send)
        else:
            await self._app(scope, receive, send)


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Allow pages from ``origins`` (``*``: any) to call ``app`` and read its responses, errors included."""
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
