"""The page at the gateway's root: static files that talk to the documented API like any other caller."""

from pathlib import Path

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """ASGI: the page's files by their paths, ``/`` for its beginning."""

    def __init__(self) -> None:
        files = {f"/{path.name}": path for path in _FOLDER.iterdir() if path.suffix in _TYPES}
        files["/"] = files.pop("/index.html")
        self._answers = {
            path: Response(file.read_bytes(), media_type=_TYPES[file.suffix], headers=_HEADERS)
            for path, file in files.items()
        }

    def answers(self, scope: Scope) -> bool:
        """Whether a request is for one of the files."""
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in self._answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file; the server leaves out the body of an answer to HEAD."""
        await self._answers[scope["path"]](scope, receive, send)
