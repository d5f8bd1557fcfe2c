"""A ``tritonserver`` that this machine has, such as that of NVIDIA's container, as a context manager."""

import http.client
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..python_server import free_port
from .options import NotHere

_START_TIMEOUT_S, _STOP_TIMEOUT_S, _POLL_S = 540.0, 20.0, 0.2
_HOST = "127.0.0.1"


class OwnTriton:
    """Serves ``repository`` by ``program`` from entering the ``with`` block to leaving it."""

    def __init__(self, program: str, repository: Path, more_arguments: Sequence[str] = ()) -> None:
        self._http_port, self._grpc_port = free_port(), free_port()
        self._log = repository.with_name(f"{repository.name}.log")
        self._command = [
            program,
            f"--model-repository={repository}",
            f"--http-address={_HOST}",
            f"--http-port={self._http_port}",
            f"--grpc-address={_HOST}",
            f"--grpc-port={self._grpc_port}",
            "--allow-metrics=false",
            *more_arguments,
        ]

    @property
    def grpc_url(self) -> str:
        """``host:port``."""
        return f"{_HOST}:{self._grpc_port}"

    def __enter__(self) -> "OwnTriton":
        with self._log.open("w", encoding="utf-8") as log:
            try:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
            except FileNotFoundError as error:
                raise NotHere(f"{self._command[0]}, which was asked for with --tritonserver") from error
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command[0]} did not get ready; its log is {self._log}")
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(_HOST, self._http_port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
