"""Starts Triton in a container: reads INSTA_DEPTH_TRITON_… and executes ``tritonserver``.

One server uses one GPU, number 0. An invalid or unknown variable is an error. Kubernetes sets variables for every
Service: do not name one ``insta-depth-triton``, or turn that off (``enableServiceLinks: false``).
"""

import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

PREFIX = "INSTA_DEPTH_TRITON_"
ROWS_VARIABLE = "INSTA_DEPTH_MAX_ROWS"
"""The orchestrator's own setting: rows in one step."""
ADMIN_HEADER = "insta-depth-admin-key"
RESTRICTED = ("shared-memory", "model-repository", "trace", "logging")
"""Calls that change the server or expose its memory; inference, health, metadata and statistics stay open."""

_MIB = 2**20
_MPS = "nvidia-cuda-mps-control"
"""The driver's, which NVIDIA's container runtime brings along."""
_MAX_ROWS = 16
_RESIDUALS_BYTES_A_ROW = 2 * 26_869_760
"""fp16 residuals of one SDXL ControlNet at 1024 x 1024: 107 MB a guided pair of rows."""
_LARGEST_PICTURE = (1280 * 1280) / (1024 * 1024)
_PUBLISHED_CONTROLNETS = 2
"""IdentityNet and ControlNet-Depth: assumed of a repository that is not on this machine."""
_EVERYTHING_ELSE = 1.125
"""Latents, prompts, noise and pictures beside the residuals; they are small."""
_LOADING_THREADS = 2
"""A plan that loads is in the host's memory twice: its file, and what TensorRT makes of it."""


class SettingError(ValueError):
    """A variable of the environment is invalid; the message starts with its name."""


@dataclass(frozen=True)
class Settings:
    """The variable of each is its name in capitals after ``INSTA_DEPTH_TRITON_``."""

    repository: str = "/models"
    """A folder as ``python -m export`` writes it, or ``s3://…``, ``gs://…``."""
    cuda_pool_bytes: int | None = None
    """GPU memory for tensors between models; default: `cuda_pool_bytes` of the rows."""
    pinned_pool_bytes: int = 512 * _MIB
    """Host memory through which tensors go to the GPU and back."""
    log_verbose: int = 0
    exit_timeout_s: int = 120
    """Seconds for requests in flight after the server was asked to stop."""
    grpc_connection_age_s: int = 30
    """Maximum age of a gRPC connection in seconds, so that clients find new servers and leave draining ones."""
    address: str = "0.0.0.0"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    mps: bool = False
    """Start CUDA's Multi-Process Service: kernels of the orchestrator and of Triton may then run at the same time."""
    admin_key_file: str = ""
    """File with the key of the restricted calls; without it nobody can make them."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings from ``environment``; raises `SettingError`, also for unknown ones."""
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


def _flag(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise SettingError(f"{name}: {text!r} is neither 0 nor 1")
    return text == "1"


_port = _whole(1, 65535)
_READ: dict[str, Callable[[str, str], Any]] = {
    "repository": _repository,
    "cuda_pool_bytes": _whole(0),
    "pinned_pool_bytes": _whole(0),
    "log_verbose": _whole(0, 9),
    "exit_timeout_s": _whole(0, 3600),
    "grpc_connection_age_s": _whole(1, 86400),
    "address": _text,
    "http_port": _port,
    "grpc_port": _port,
    "metrics_port": _port,
    "mps": _flag,
    "admin_key_file": _text,
}


def controlnet_count(repository: str) -> int:
    """Return how many engines ``denoise_step`` has beside the UNet."""
    config = Path(repository, "denoise_step", "config.pbtxt")
    return config.read_text(encoding="utf-8").count("model_name:") - 1 if config.exists() else _PUBLISHED_CONTROLNETS


def cuda_pool_bytes(rows: int, controlnets: int = _PUBLISHED_CONTROLNETS) -> int:
    """Return the size of a step's tensors for ``rows``, at the largest picture.

    What does not fit goes through host memory: Triton's default of 64 MiB does not hold one guided pair.
    """
    return int(controlnets * rows * _RESIDUALS_BYTES_A_ROW * _LARGEST_PICTURE * _EVERYTHING_ELSE)


def arguments(settings: Settings, rows: int, admin_key: str) -> Iterator[str]:
    """Yield the arguments of ``tritonserver``; ``rows``: maximum in one step."""
    pool = settings.cuda_pool_bytes
    if pool is None:
        pool = cuda_pool_bytes(rows, controlnet_count(settings.repository))
    yield f"--model-repository={settings.repository}"
    for purpose, port in _ports(settings).items():
        yield f"--{purpose}-address={settings.address}"
        yield f"--{purpose}-port={port}"
    yield "--allow-metrics=true"
    yield "--model-control-mode=none"
    yield "--exit-on-error=true"
    yield "--strict-readiness=true"
    yield f"--cuda-memory-pool-byte-size=0:{pool}"
    yield f"--pinned-memory-pool-byte-size={settings.pinned_pool_bytes}"
    yield "--disable-auto-complete-config"  # configurations are complete, and asking an engine loads it twice
    yield f"--model-load-thread-count={_LOADING_THREADS}"
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
    """Return the key from the file, or a random one; raises `SettingError`."""
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
    """Return the command to execute; raises `SettingError`."""
    settings = Settings.from_environment(environment)
    return ["tritonserver", *arguments(settings, _rows(environment), admin_key(settings))]


def start_mps() -> dict[str, str]:
    """Start the Multi-Process Service and return the variables by which CUDA finds it; raises `SettingError`."""
    folder = tempfile.mkdtemp(prefix="mps-")
    found = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
    try:
        subprocess.run(
            [_MPS, "-d"], env={**os.environ, **found}, check=True, capture_output=True, text=True, encoding="utf-8"
        )
    except OSError as error:
        raise SettingError(f"{PREFIX}MPS: {_MPS} cannot be run: {error}") from None
    except subprocess.CalledProcessError as error:
        raise SettingError(f"{PREFIX}MPS: {_MPS} failed: {(error.stderr or error.stdout).strip()}") from None
    return found


def main() -> int:
    """Execute the server, or report an invalid variable."""
    try:
        line = command(os.environ)
        of_mps = start_mps() if Settings.from_environment(os.environ).mps else {}
    except SettingError as error:
        print(f"serve_triton: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the container's log
        return 2
    # Triton does not need these, and its models' processes must not see them.
    environment = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    os.execvpe(line[0], line, environment | of_mps)


if __name__ == "__main__":
    sys.exit(main())
