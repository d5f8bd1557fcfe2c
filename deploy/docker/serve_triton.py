"""Starts Triton in a container: reads INSTA_DEPTH_TRITON_… and becomes ``tritonserver``.

One server works on one GPU, which it sees as number 0. A variable that is wrong or that nothing reads is refused by
name. In a cluster that sets variables for every Service, do not call one ``insta-depth-triton``, or turn that off
(``enableServiceLinks: false``).
"""

import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

PREFIX = "INSTA_DEPTH_TRITON_"
ROWS_VARIABLE = "INSTA_DEPTH_MAX_ROWS"
"""The orchestrator's own setting: rows in one step."""
ADMIN_HEADER = "insta-depth-admin-key"
RESTRICTED = ("shared-memory", "model-repository", "trace", "logging")
"""What changes the server or opens its memory; inference, health, metadata and statistics stay open."""

_MIB = 2**20
_MAX_ROWS = 16
_RESIDUALS_BYTES_A_ROW = 2 * 26_869_760
"""fp16 residuals of one SDXL ControlNet at 1024 x 1024: 107 MB a guided pair of rows."""
_LARGEST_PICTURE = (1280 * 1280) / (1024 * 1024)
_CONTROLNETS = 2
_EVERYTHING_ELSE = 1.125
"""Latents, prompts, noise and pictures beside the residuals; they are small."""
_MOST_LOADING_THREADS = 16


class SettingError(ValueError):
    """A variable of the environment cannot be used; the message starts with its name."""


@dataclass(frozen=True)
class Settings:
    """The variable of each is its name in capitals after ``INSTA_DEPTH_TRITON_``."""

    repository: str = "/models"
    """A folder as ``python -m export`` writes it, or ``s3://…``, ``gs://…``."""
    cuda_pool_bytes: int | None = None
    """GPU memory for tensors between models; `cuda_pool_bytes` of the rows by default."""
    pinned_pool_bytes: int = 512 * _MIB
    """Host memory through which tensors go to the GPU and back."""
    cache_bytes: int = 64 * _MIB
    """Responses that are kept: faces and prompts that were seen before."""
    log_verbose: int = 0
    exit_timeout_s: int = 120
    """Seconds that requests in flight have once the server was asked to stop."""
    grpc_connection_age_s: int = 30
    """Seconds after which a gRPC connection is renewed, so that clients find servers that came since, and leave one
    that drains; what runs on it runs to its end."""
    address: str = "0.0.0.0"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    admin_key_file: str = ""
    """Holds the key of the restricted calls; without it they are closed to everybody."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read each setting that ``environment`` names, and refuse the others; raises `SettingError`."""
        names = {PREFIX + field.name.upper(): field.name for field in fields(cls)}
        given = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
        for name in given:
            if name not in names:
                raise SettingError(f"{name}: there is no such setting")
        settings = cls(**{names[name]: _READ[names[name]](name, text) for name, text in given.items()})
        ports = (settings.http_port, settings.grpc_port, settings.metrics_port)
        if len(set(ports)) < len(ports):
            raise SettingError(f"{PREFIX}HTTP_PORT, _GRPC_PORT, _METRICS_PORT: {ports} are not three ports")
        return settings


def _text(name: str, text: str) -> str:
    if not text.strip() or "\n" in text:
        raise SettingError(f"{name}: {text!r} is not one line of text")
    return text


def _repository(name: str, text: str) -> str:
    if not re.match(r"/|s3://.|gs://.", text):
        raise SettingError(f"{name}: {text!r} is neither an absolute path nor s3://… or gs://…")
    return _text(name, text)


def _whole(minimum: int, maximum: int = 2**63 - 1) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", text) or not minimum <= int(text) <= maximum:
            raise SettingError(f"{name}: {text!r} is not a whole number from {minimum} to {maximum}")
        return int(text)

    return read


_port = _whole(1, 65535)
_READ: dict[str, Callable[[str, str], Any]] = {
    "repository": _repository,
    "cuda_pool_bytes": _whole(0),
    "pinned_pool_bytes": _whole(0),
    "cache_bytes": _whole(_MIB),
    "log_verbose": _whole(0, 9),
    "exit_timeout_s": _whole(0, 3600),
    "grpc_connection_age_s": _whole(1, 86400),
    "address": _text,
    "http_port": _port,
    "grpc_port": _port,
    "metrics_port": _port,
    "admin_key_file": _text,
}


def cuda_pool_bytes(rows: int) -> int:
    """Return how much the tensors of a step of ``rows`` take, both ControlNets and the largest picture assumed.

    What does not fit goes through the host's memory: Triton's own 64 MiB do not hold one guided pair.
    """
    return int(_CONTROLNETS * rows * _RESIDUALS_BYTES_A_ROW * _LARGEST_PICTURE * _EVERYTHING_ELSE)


def arguments(settings: Settings, rows: int, admin_key: str) -> Iterator[str]:
    """Yield the arguments of ``tritonserver``; ``rows`` are the most in one step."""
    pool = cuda_pool_bytes(rows) if settings.cuda_pool_bytes is None else settings.cuda_pool_bytes
    yield f"--model-repository={settings.repository}"
    for purpose, port in _ports(settings).items():
        yield f"--{purpose}-address={settings.address}"
        yield f"--{purpose}-port={port}"
    yield "--allow-metrics=true"
    yield "--model-control-mode=none"
    yield "--exit-on-error=true"
    yield "--strict-readiness=true"
    yield f"--cache-config=local,size={settings.cache_bytes}"
    yield f"--cuda-memory-pool-byte-size=0:{pool}"
    yield f"--pinned-memory-pool-byte-size={settings.pinned_pool_bytes}"
    yield f"--model-load-thread-count={min(_MOST_LOADING_THREADS, len(os.sched_getaffinity(0)))}"
    yield f"--exit-timeout-secs={settings.exit_timeout_s}"
    yield f"--grpc-max-connection-age={settings.grpc_connection_age_s * 1000}"
    yield f"--log-verbose={settings.log_verbose}"
    yield "--log-format=ISO8601"
    restricted = ",".join(RESTRICTED)
    yield f"--http-restricted-api={restricted}:{ADMIN_HEADER}={admin_key}"
    yield f"--grpc-restricted-protocol={restricted}:{ADMIN_HEADER}={admin_key}"


def _ports(settings: Settings) -> dict[str, int]:
    return {"http": settings.http_port, "grpc": settings.grpc_port, "metrics": settings.metrics_port}


def admin_key(settings: Settings) -> str:
    """Return the key of the file, or one that nobody knows; raises `SettingError`."""
    if not settings.admin_key_file:
        return secrets.token_urlsafe(32)
    name = f"{PREFIX}ADMIN_KEY_FILE"
    try:
        key = Path(settings.admin_key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{name}: {settings.admin_key_file!r} cannot be read: {error}") from None
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,}", key):
        raise SettingError(f"{name}: the key is not 16 or more letters, digits, - or _")
    return key


def _rows(environment: Mapping[str, str]) -> int:
    return _whole(2)(ROWS_VARIABLE, environment.get(ROWS_VARIABLE, str(_MAX_ROWS)))


def command(environment: Mapping[str, str]) -> list[str]:
    """Return what to execute; raises `SettingError`."""
    settings = Settings.from_environment(environment)
    return ["tritonserver", *arguments(settings, _rows(environment), admin_key(settings))]


def main() -> int:
    """Become the server, or say which variable stands in the way."""
    try:
        line = command(os.environ)
    except SettingError as error:
        print(f"serve_triton: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the container's log
        return 2
    # What Triton has no use for, and what its models' processes need not see.
    environment = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    os.execvpe(line[0], line, environment)


if __name__ == "__main__":
    sys.exit(main())
