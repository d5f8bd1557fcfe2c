"""A TensorRT plan fits one TensorRT version and one kind of GPU: checked here, as TensorRT's own error is unclear."""

import ctypes
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "plans.json"
_LIBRARIES = ("libnvinfer.so.11", "libnvinfer.so.10")
_log = logging.getLogger(__name__)


class PlanMismatch(RuntimeError):
    """A plan was built for another TensorRT or another kind of GPU than those of this machine."""


@dataclass(frozen=True)
class PlanRecord:
    """One plan: what it was built from, by and for."""

    engine: str
    tensorrt: str
    """The version that built it, as ``tensorrt.__version__`` has it."""
    gpu: str
    compute_capability: str
    """``9.0``"""
    precision: str
    profiles: list[dict[str, list[int]]]
    """Minimum, optimum and maximum of each dynamic dimension, by the engine table's symbols."""
    source: str
    """SHA-256 of the ONNX engine, weights included."""
    plan: str
    """SHA-256 of the plan."""


@dataclass(frozen=True)
class Machine:
    """Where plans are to run; ``tensorrt`` is None if no library was found."""

    tensorrt: str | None
    gpu: str
    compute_capability: str

    @classmethod
    def here(cls, device: Any) -> "Machine":
        """Query the driver about ``device``, a CUDA ``torch.device``, and the TensorRT library for its version."""
        import torch

        major, minor = torch.cuda.get_device_capability(device)
        return cls(tensorrt_version(), torch.cuda.get_device_name(device), f"{major}.{minor}")


def save_plans(folder: Path, records: Mapping[str, PlanRecord]) -> None:
    """Write ``records`` into a Python model's folder, the only one that its process is sure to see."""
    (folder / FILE_NAME).write_text(
        json.dumps({name: vars(record) for name, record in records.items()}, indent=2), encoding="utf-8"
    )


def check_plans(folder: Path, machine: Machine) -> None:
    """Compare the plans recorded in ``folder`` with ``machine``; raises `PlanMismatch` naming every difference."""
    path = folder / FILE_NAME
    if not path.exists():
        return
    records = [PlanRecord(**record) for record in json.loads(path.read_text(encoding="utf-8")).values()]
    if machine.tensorrt is None:
        _log.warning("no TensorRT library could be asked for its version: plans are not checked against it")
    faults = [fault for record in records for fault in _faults(record, machine)]
    if faults:
        raise PlanMismatch("; ".join(faults) + ". Build them here: python -m export tensorrt")


def _faults(record: PlanRecord, machine: Machine) -> Iterator[str]:
    if machine.tensorrt is not None and _release(record.tensorrt) != _release(machine.tensorrt):
        yield f"{record.engine}'s plan was built by TensorRT {record.tensorrt}, here is {machine.tensorrt}"
    if record.compute_capability != machine.compute_capability:
        yield (
            f"{record.engine}'s plan was built for {record.gpu} (compute capability {record.compute_capability}), "
            f"here is {machine.gpu} ({machine.compute_capability})"
        )
    elif record.gpu != machine.gpu:
        _log.warning(
            "%s's plan was tuned on %s and runs on %s: slower, perhaps", record.engine, record.gpu, machine.gpu
        )


def _release(version: str) -> list[str]:
    """Major, minor and patch: only the release that wrote a plan can read it."""
    return version.split(".")[:3]


def tensorrt_version() -> str | None:
    """Return the version of the TensorRT library that this process can load, or None."""
    for name in _LIBRARIES:
        try:
            number = ctypes.CDLL(name).getInferLibVersion()
        except (OSError, AttributeError):
            continue
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return None
