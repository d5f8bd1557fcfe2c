"""The server of a container without the container: ``tritonserver`` as ``serve_triton`` starts it, and no guard."""

import contextlib
import http.client
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.docker import serve_triton
from deploy.local import runtime, wheel

_START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Bare:
    """A server that runs, and where it listens."""

    pid: int
    http_port: int
    grpc_port: int
    metrics_port: int
    log_path: Path

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Status and text of a request to the HTTP endpoint."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def is_running(self) -> bool:
        """Whether the server has not ended."""
        return psutil.pid_exists(self.pid) and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE


@contextlib.contextmanager
def bare_triton(repository: Path, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Bare]:
    """Serve ``repository`` on free ports, with ``INSTA_DEPTH_TRITON_…`` settings as in a container."""
    ports = _free_ports(3)
    names = (f"{serve_triton.PREFIX}{purpose}_PORT" for purpose in ("HTTP", "GRPC", "METRICS"))
    given = dict(zip(names, map(str, ports), strict=True)) | {
        "INSTA_DEPTH_TRITON_REPOSITORY": str(repository),
        "INSTA_DEPTH_TRITON_ADDRESS": "127.0.0.1",
        "INSTA_DEPTH_TRITON_EXIT_TIMEOUT_S": "3",
    }
    files = wheel.ensure()
    prepared, prefix = runtime.prepare(files), f"insta_depth_{os.getpid()}_{uuid.uuid4().hex[:8]}_"
    _, *arguments = serve_triton.command(given | dict(settings or {}))
    # Where the wheel has what lies under /opt/tritonserver in the container.
    places = [f"--backend-directory={prepared.backends}", f"--backend-config=python,shm-region-prefix-name={prefix}"]
    log_path = folder / "triton.log"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [str(files.server), *arguments, *places],
            env=prepared.environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    server = Bare(process.pid, *ports, log_path)
    try:
        _wait_until_ready(process, server)
        yield server
    finally:
        _end(process)
        for region in Path("/dev/shm").glob(f"{prefix}*"):
            region.unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _wait_until_ready(process: "subprocess.Popen[bytes]", server: Bare) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while True:
        assert process.poll() is None, server.log_path.read_text()[-3000:]
        assert time.monotonic() < deadline_s, server.log_path.read_text()[-3000:]
        with contextlib.suppress(OSError):
            if server.get("/v2/health/ready")[0] == 200:
                return
        time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stop it, and the models' processes that it may leave behind."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        os.killpg(process.pid, 9)
    process.wait()
