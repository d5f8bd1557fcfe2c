"""Under which conditions something was measured."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from deploy.local import wheel

_PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "diffusers",
    "transformers",
    "tensorrt",
    "tritonclient",
    "uvicorn",
)
_ROOT = Path(__file__).resolve().parents[1]


def conditions() -> dict[str, Any]:
    """Machine, versions and commit; what is not there is left out."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "triton": f"{wheel.WHEEL} {wheel.VERSION}",
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "commit": commit(),
    }


def processor() -> str:
    """The model's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gpus() -> list[str]:
    """Names of the GPUs that the driver shows."""
    output = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return output.splitlines()


def commit() -> str:
    """The commit of this checkout, marked where files differ from it."""
    return _output("git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
