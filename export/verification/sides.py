"""The two sides of a comparison: a repository, and what runs its engines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import ExportError
from ..in_process import Arrays, RunEngine, manifest, onnx_engine
from ..plans.tensorrt_module import require_tensorrt


@dataclass(frozen=True)
class Side:
    """``name`` says in tables what runs; ``open_engine`` takes an engine's version folder."""

    name: str
    repository: Path
    open_engine: Callable[[Path], RunEngine]

    @property
    def io_dtype(self) -> np.dtype:
        """The float type at the border of this side's engines."""
        return np.dtype(manifest(self.repository).numpy_dtype)


def onnx_side(repository: Path) -> Side:
    """The repository's ONNX engines on ONNX Runtime; raises `ExportError` where it has none."""
    if not (repository / "unet" / "1" / "model.onnx").exists():
        raise ExportError(f"{repository} has no ONNX engines: name the repository that it was built from by --against")
    return Side("ONNX Runtime", repository, onnx_engine)


def tensorrt_side(repository: Path) -> Side:
    """The repository's plans on TensorRT; raises `TensorRTMissing`, or `ExportError` where it has none."""
    require_tensorrt()
    if not (repository / "unet" / "1" / "model.plan").exists():
        raise ExportError(f"{repository} has no plans: python -m export tensorrt builds them")
    return Side("TensorRT", repository, plan_engine)


def plan_engine(folder: Path) -> RunEngine:
    """Open ``model.plan`` in an engine's version folder, for arrays on the host."""
    from ..plans.run import Plan

    plan = Plan(folder / "model.plan", torch.device("cuda", torch.cuda.current_device()))

    def run(inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        made = plan({name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: made[name].numpy(force=True) for name in outputs}

    return run
