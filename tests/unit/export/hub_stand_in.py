"""A hub on 127.0.0.1: the paths of the real one that huggingface_hub uses, over real HTTP, with faults on demand."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+?)(?:/revision/(?P<revision>[^/?]+))?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_LFS_FROM = 1000


@dataclass
class Sent:
    """One answer with a file's bytes."""

    path: str
    start: int
    size: int
    authorization: str | None


@dataclass
class StandIn:
    """``repos``: repo → commit → path → bytes, the newest commit last.

    ``cut``: path → bytes until the line breaks; ``stalled``: path → bytes until nothing more comes.
    """

    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    stalled: dict[str, int] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    url: str = ""

    def starts(self, path: str) -> list[int]:
        """Return at which byte each download of ``path`` started."""
        return [one.start for one in self.sent if one.path == path]

    def commit(self, repo: str, revision: str | None) -> str | None:
        """Return the commit that ``revision`` means."""
        commits = self.repos[repo]
        newest = list(commits)[-1]
        return newest if revision in (None, "main") else revision if revision in commits else None


@contextmanager
def serving(hub: StandIn) -> Iterator[StandIn]:
    """Serve ``hub`` on a free port for the duration."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A client that goes away in mid-file is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    hub: StandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(path)
        if match := _API.fullmatch(path):
            self._listing(match["repo"], match["revision"])
        elif match := _FILE.fullmatch(path):
            self._resolve(match["repo"], match["revision"], match["path"])
        elif path in self.hub.plain:
            self._bytes(path, self.hub.plain[path])
        else:
            self._refuse(404, "")

    def log_message(self, *_arguments: object) -> None:
        pass

    def _listing(self, repo: str, revision: str | None) -> None:
        if repo in self.hub.refusals:
            return self._refuse(*self.hub.refusals[repo])
        if repo not in self.hub.repos:
            return self._refuse(401, "RepoNotFound")
        commit = self.hub.commit(repo, revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        siblings = [_sibling(path, content) for path, content in self.hub.repos[repo][commit].items()]
        body = {"id": repo, "sha": commit, "cardData": {"license": "openrail++"}, "siblings": siblings}
        return self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        content = self.hub.repos.get(repo, {}).get(revision, {}).get(path)
        if content is None:
            return self._refuse(404, "EntryNotFound")
        if len(content) < _LFS_FROM:
            return self._bytes(path, content)
        self.hub.plain[f"/cdn/{path}"] = content
        return self._answer(302, b"", {"Location": f"{self.hub.url}/cdn/{path}"})

    def _bytes(self, path: str, content: bytes) -> None:
        path = path.removeprefix("/cdn/")
        if self.hub.cut.get(path) == 0:
            return self._refuse(503, "")
        if path in self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        limit = self.hub.cut.get(path, self.hub.stalled.get(path, len(content)))
        end = min(len(content), start + limit)
        self.hub.sent.append(Sent(path, start, end - start, self.headers.get("Authorization")))
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if wanted else {}
        self._answer(206 if wanted else 200, content[start:end], headers, len(content) - start)
        if path in self.hub.cut:
            self.hub.cut[path] = 0
            self.close_connection = True
        if path in self.hub.stalled:
            self.close_connection = True
            _wait_while(lambda: path in self.hub.stalled)
        return None

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"{}", {"X-Error-Code": code} if code else {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str], size: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        self.wfile.write(body)


def _wait_while(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def _sibling(path: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sibling: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": blob}
    if len(content) >= _LFS_FROM:
        sha256 = hashlib.sha256(content).hexdigest()
        sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
    return sibling
