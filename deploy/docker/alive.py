"""Checks whether this container's Triton still works; exit status 0 or 1. For a liveness probe and HEALTHCHECK.

When the process of one of its Python models dies, Triton starts no other and still calls itself ready. So this asks the
orchestrator to cancel a request that does not exist, which it does at once and without the GPU, even when busy.

A dead process of any other Python model is visible as a zombie child of the server. Neither works while models load:
check ``/v2/health/ready`` first.

Docker restarts a container that has ended, but not an unhealthy one: ``--kill`` ends a server that has lost a process.
The server must not be process 1 (use ``init: true``), which the kernel protects.
"""

import argparse
import http.client
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODEL = "insta_depth_stream"
_CANCEL_NOTHING = {"cancel": "of nobody, by alive.py"}
_CODED = re.compile(r"\[[A-Z_]+\] ")
"""Our models' errors begin like this: the model answered, even though it rejected the request."""
_STUB = "triton_python_backend_stub"[:15]  # the kernel truncates names


def main() -> int:
    """Print what is wrong, if anything."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default=_host())
    parser.add_argument("--port", type=int, default=int(os.environ.get("INSTA_DEPTH_TRITON_HTTP_PORT", "8000")))
    parser.add_argument("--timeout-s", type=float, default=10.0, help="for an answer (%(default)s)")
    parser.add_argument("--kill", action="store_true", help="end a ready server that has lost a process")
    options = parser.parse_args()
    fault = unanswered(options.host, options.port, options.timeout_s)
    if dead := dead_stub(options.port):
        fault = f"process {dead.stub} of a Python model has died"
        if options.kill and is_ready(options.host, options.port):
            fault += f"; killed the server, process {dead.server}"
            os.kill(dead.server, signal.SIGKILL)
    if fault:
        print(f"alive: {fault}", file=sys.stderr, flush=True)  # noqa: T201 - what the orchestrator of containers shows
    return 1 if fault else 0


def _host() -> str:
    address = os.environ.get("INSTA_DEPTH_TRITON_ADDRESS", "0.0.0.0")
    return "127.0.0.1" if address == "0.0.0.0" else address


def unanswered(host: str, port: int, timeout_s: float) -> str:
    """Ask the orchestrator; return an error text, or "" if it answers."""
    deadline_s = time.monotonic() + timeout_s
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request(
            "POST",
            f"/v2/models/{MODEL}/generate_stream",
            json.dumps(_CANCEL_NOTHING),
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        text = _read(response, deadline_s)
    except (OSError, http.client.HTTPException) as error:
        return f"{MODEL} did not answer within {timeout_s:g} s: {type(error).__name__} {error}"
    finally:
        connection.close()
    failed = response.status != http.HTTPStatus.OK or '"error"' in text
    if failed and not _CODED.search(text):
        return f"{MODEL} answered {response.status}: {text.strip()[:500]}"
    return ""


def _read(response: http.client.HTTPResponse, deadline_s: float) -> str:
    """Read to the end; a server that never stops sending hits the deadline too."""
    parts = []
    while part := response.read1(65536):
        parts.append(part)
        if time.monotonic() > deadline_s:
            raise TimeoutError("no end of the answer")
    return b"".join(parts).decode(errors="replace")


def is_ready(host: str, port: int) -> bool:
    """Whether the server reports ready; it does not while loading or stopping."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(frozen=True)
class Dead:
    """A model's dead process and its server."""

    stub: int
    server: int


def dead_stub(port: int) -> Dead | None:
    """Find a dead model process of the server on ``port``.

    Return None if there is none, or if the server's processes are not visible from here.
    """
    for pid, name, state, parent in _processes():
        if name == _STUB and state == "Z" and _serves(parent, port):
            return Dead(pid, parent)
    return None


def _processes() -> Iterator[tuple[int, str, str, int]]:
    """Yield each process's id, name, state letter and parent."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            before, _, after = (path / "stat").read_text(errors="replace", encoding="utf-8").rpartition(")")
        except OSError:
            continue  # it ended meanwhile
        state, parent = after.split()[:2]
        yield int(path.name), before.partition("(")[2], state, int(parent)


def _serves(pid: int, port: int) -> bool:
    try:
        return f"--http-port={port}" in Path(f"/proc/{pid}/cmdline").read_text(
            errors="replace", encoding="utf-8"
        ).split("\0")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
