"""Servers that a row starts for itself, as processes on a free port, until the ``with`` block ends."""

import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import psutil

_START_TIMEOUT_S = 300.0


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def python_server(
    arguments: Sequence[str], port: int, path: str, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run ``python`` with ``arguments`` and yield its process when ``path`` answers 200 on ``port``.

    ``environment``: all of it; this process's where None. Raises RuntimeError, with its last line, where it ends.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=log, stderr=log)
        try:
            if not _gets_ready(process, port, path):
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                reason = said[-1] if said else f"exit status {process.poll()}"
                raise RuntimeError(f"{' '.join(arguments[:3])} did not get ready: {reason}")
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def _gets_ready(process: "subprocess.Popen[bytes]", port: int, path: str) -> bool:
    give_up = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < give_up:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        time.sleep(0.05)
    return False


def memory_mib(pid: int) -> float:
    """Return the memory of a process and its children, a page that several share counted once (PSS; Linux)."""
    process = psutil.Process(pid)
    total = 0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total / 2**20
