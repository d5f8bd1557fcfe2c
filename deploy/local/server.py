"""A Triton server as a context manager."""

import contextlib
import http.client
import logging
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil

from . import log, preflight, runtime, wheel
from .configs import are_complete
from .errors import StartFailed
from .plain_paths import PlainPaths

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of ready models and the number of all models."""

_POLL_S = 0.1
# Triton waits this long for requests in flight, and as long for a client that keeps its connection open.
_DRAIN_S = 3
_LOAD_THREADS = 8
"""More than processors: a model's process spends much of its start waiting. Two on two cores take 3 s longer."""
_GUARD = Path(__file__).resolve().parent / "guard.py"


@dataclass(frozen=True)
class Options:
    """The server's ports, memory and limits. Port 0 means any free port."""

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    start_timeout_s: float = 600.0
    stop_timeout_s: float = 8.0
    """The server is killed after this time: one that is answering a unary request would never stop."""
    log_path: Path | None = None
    """``build/triton/logs/<repository>-<http port>.log`` by default, overwritten at each start."""
    environment: Mapping[str, str] | None = None
    """Settings for the models (``INSTA_DEPTH_…``), added to this process's environment."""
    more_arguments: Sequence[str] = ()
    """Further arguments of ``tritonserver``, as they are."""


ON_FREE_PORTS = Options(http_port=0, grpc_port=0, metrics_port=0)


class LocalTriton:
    """Serves ``repository`` from entering the ``with`` block to leaving it.

    Raises a `LocalTritonError` that says what to do if the server cannot start. The server always ends with this
    process.
    """

    def __init__(
        self,
        repository: Path | str,
        options: Options | None = None,
        on_progress: Progress | None = None,
        **changes: Any,
    ) -> None:
        self.repository = Path(repository).resolve()
        self.options = _with_ports(replace(options or Options(), **changes))
        self._on_progress = on_progress or (lambda ready, total: None)
        self._guard: subprocess.Popen[str] | None = None
        self._paths = PlainPaths()

    @property
    def http_url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.options.host}:{self.options.http_port}"

    @property
    def grpc_url(self) -> str:
        """``host:port``, as gRPC clients take it."""
        return f"{self.options.host}:{self.options.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """The page in Prometheus' text format."""
        return f"http://{self.options.host}:{self.options.metrics_port}/metrics"

    @property
    def log_path(self) -> Path:
        """The output of the server and the models."""
        name = f"{_short(self.repository.name)}-{self.options.http_port}.log"
        return self.options.log_path or wheel.CACHE / "logs" / name

    @property
    def models(self) -> list[str]:
        """Names of the repository's models."""
        return sorted(config.parent.name for config in self.repository.glob("*/config.pbtxt"))

    @property
    def pid(self) -> int:
        """The server's process id, 0 if there is none; the guard may replace the process."""
        if self._guard is None:
            return 0
        with contextlib.suppress(psutil.NoSuchProcess):
            return next((child.pid for child in psutil.Process(self._guard.pid).children()), 0)
        return 0

    def __enter__(self) -> "LocalTriton":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Check the machine, start the server and return when every model is ready."""
        preflight.check_machine()
        preflight.check_repository(self.repository)
        files = wheel.ensure()
        preflight.check_libpython(files)
        preflight.check_ports(self.options.host, self._ports)
        try:
            self._launch(files)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and wait until all its processes are gone; does nothing if it has ended."""
        if self._guard is None:
            self._paths.remove()
            return
        guard, self._guard = self._guard, None
        with contextlib.suppress(BrokenPipeError):
            _pipe(guard.stdin).close()
        guard.wait()
        _pipe(guard.stdout).close()

    def is_running(self) -> bool:
        """Whether the server process is alive."""
        return self._guard is not None and self._guard.poll() is None

    def wait(self) -> int:
        """Block until the server ends by itself; return its exit status."""
        return self._guard.wait() if self._guard else 0

    @property
    def _ports(self) -> dict[str, int]:
        options = self.options
        return {"http": options.http_port, "grpc": options.grpc_port, "metrics": options.metrics_port}

    def _launch(self, files: wheel.TritonFiles) -> None:
        self._paths = PlainPaths()  # the guard removes them
        files = replace(files, root=self._paths.of(files.root, "triton"))
        prepared = runtime.prepare(files, self._paths)
        prefix = f"insta_depth_{os.getpid()}_{uuid.uuid4().hex[:8]}_"
        command = [str(files.server), *self._arguments(files, prepared, prefix)]
        guard = [sys.executable, "-I", str(_GUARD), "--shared-memory-prefix", prefix]
        guard += ["--stop-timeout-s", str(self.options.stop_timeout_s)]
        guard += ["--address", self.options.host, str(self.options.http_port)]
        if self._paths.folder:
            guard += ["--links", str(self._paths.folder)]
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("w", encoding="utf-8") as log_file:
            self._guard = subprocess.Popen(
                [*guard, "--", *command],
                env=prepared.environment | dict(self.options.environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                text=True,
                start_new_session=True,
                encoding="utf-8",
            )
        _pipe(self._guard.stdout).readline()  # the server's process exists
        logger.info("Triton (pid %d) is starting; its log is %s", self.pid, self.log_path)

    def _arguments(self, files: wheel.TritonFiles, prepared: runtime.Runtime, prefix: str) -> Iterator[str]:
        options = self.options
        yield f"--model-repository={self._paths.of(self.repository, 'repository')}"
        yield f"--backend-directory={prepared.backends}"
        for purpose, port in self._ports.items():
            yield f"--{purpose}-address={options.host}"
            yield f"--{purpose}-port={port}"
        yield "--model-control-mode=none"
        yield "--exit-on-error=true"
        yield f"--exit-timeout-secs={_DRAIN_S}"
        yield f"--backend-config=python,shm-region-prefix-name={prefix}"
        yield f"--model-load-thread-count={_LOAD_THREADS}"
        if are_complete(self.repository):
            yield "--disable-auto-complete-config"
        yield from options.more_arguments

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.options.start_timeout_s
        total, reported = len(self.models), -1
        while not self._is_ready():
            self._check_alive(deadline)
            loaded = len(log.loaded_models(log.read(self.log_path)))
            if loaded != reported:
                self._on_progress(loaded, total)
                reported = loaded
            time.sleep(_POLL_S)
        self._on_progress(total, total)

    def _check_alive(self, deadline: float) -> None:
        text = log.read(self.log_path)
        if not self.is_running():
            raise StartFailed(f"Triton ended while starting:\n{log.why_failed(text)}", self._see_log)
        if crash := log.crash(text):
            raise StartFailed(f"A model's process ended while starting:\n{crash}", self._see_log)
        if time.monotonic() > deadline:
            loaded = log.loaded_models(text)
            missing = ", ".join(name for name in self.models if name not in loaded)
            took = f"{self.options.start_timeout_s:g} s"
            raise StartFailed(f"Triton was not ready after {took}; still loading: {missing}.", self._see_log)

    @property
    def _see_log(self) -> str:
        return f"The whole log is {self.log_path}."

    def _is_ready(self) -> bool:
        # http.client, because urllib would use a proxy for 127.0.0.1.
        connection = http.client.HTTPConnection(self.options.host, self.options.http_port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _short(name: str) -> str:
    """Truncate a file name: the system allows 255 bytes."""
    return os.fsdecode(os.fsencode(name)[:200])


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("the guard was started without pipes")
    return stream


def _with_ports(options: Options) -> Options:
    """Replace each 0 with a free port."""
    names = ("http_port", "grpc_port", "metrics_port")
    asked = [name for name in names if getattr(options, name) == 0]
    with contextlib.ExitStack() as stack:
        # Bind all at once, so that no port is used twice.
        sockets = [stack.enter_context(socket.create_server((options.host, 0))) for _ in asked]
        found = {name: listener.getsockname()[1] for name, listener in zip(asked, sockets, strict=True)}
    return replace(options, **found)
