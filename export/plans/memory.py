"""GPU memory of a served repository: what each engine takes, what comes on top, and which GPUs hold the sum."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..engines import Engine, step_engine_names
from ..shapes import ShapeRanges, tensor_shapes
from ..tensors import Axis

NAME = "memory.json"
GPUS_GB = (24, 40, 48, 80)
USABLE = 0.93
"""Of the GB in a GPU's name, in GiB: an L4 of 24 GB has 22.5 GiB, an L40S of 48 has 45.0, an H100 of 80 has 79.6."""
PROCESSES_BYTES = 2 * 2**30
"""Triton's and the orchestrator's CUDA contexts and PyTorch's cache: 1.75 GiB measured on an H200, with pools."""

_ACTIVATIONS_A_CELL = {"unet": 650_000, "vae_decoder": 9_000_000, "vae_encoder": 4_500_000}
_ACTIVATIONS_A_CELL_OF_CONTROLNETS = 700_000
"""Bytes in fp16, a row and 64 × 64 pixels of picture, before a plan is built.

TensorRT-RTX 1.7 for compute capability 8.9 tells, at 1280 × 1280 pixels, of networks of SDXL's widths with one block a
layer: UNet 549,000 at 1 to 16 rows, a ControlNet 457,000 to 613,000 (973,000 at 8 rows, where it takes other kernels),
VAE 8,700,000 at one row (twice as much in fp32). SDXL's second block adds skip connections. The VAE's encoder is
not measured: its tensors of full size have half the channels of the decoder's.
"""
_OTHER_ACTIVATIONS = 200_000_000
"""Of each other engine: Depth Anything V2 Small at 1280 pixels, the largest of them, was told 160 MB."""


@dataclass(frozen=True)
class PlanMemory:
    """What the builder of a plan says that it takes on the GPU, in bytes."""

    weights: int
    activations: int
    """Of one execution context; of several profiles, the largest."""

    def save(self, folder: Path) -> None:
        """Write it into an engine's folder."""
        (folder / NAME).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PlanMemory | None":
        """Return what an engine's folder holds, or None if there is nothing readable."""
        try:
            return cls(**json.loads((folder / NAME).read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class EngineMemory:
    """One engine's bytes; ``buffers``: Triton's TensorRT backend allocates each input and output at its largest."""

    name: str
    plan: PlanMemory
    buffers: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.plan.weights + self.plan.activations + self.buffers


@dataclass(frozen=True)
class Memory:
    """A whole repository's bytes; ``pool``: Triton's CUDA pool, for the tensors between the engines of a step."""

    engines: tuple[EngineMemory, ...]
    pool: int
    processes: int = PROCESSES_BYTES

    @property
    def total(self) -> int:
        """The sum."""
        return sum(engine.total for engine in self.engines) + self.pool + self.processes

    def fits(self, gpu_gb: float) -> bool:
        """Whether a GPU that is sold with ``gpu_gb`` GB holds it."""
        return self.total <= usable_bytes(gpu_gb)


def usable_bytes(gpu_gb: float) -> int:
    """Return the bytes that a GPU of ``gpu_gb`` GB has for one server."""
    return int(gpu_gb * USABLE * 2**30)


def buffer_bytes(engine: Engine, profiles: Iterable[ShapeRanges], io_dtype: np.dtype) -> int:
    """Return the bytes of an engine's inputs and outputs at their largest, in every profile's own context."""
    return sum(_bytes(engine, ranges, io_dtype) for ranges in profiles)


def estimate(name: str, profiles: Iterable[ShapeRanges], is_fp32: bool) -> int:
    """Return about how many bytes of activations engine ``name`` takes at the largest of ``profiles``."""
    a_cell = _ACTIVATIONS_A_CELL.get(name)
    if a_cell is None and name in step_engine_names():
        a_cell = _ACTIVATIONS_A_CELL_OF_CONTROLNETS
    if a_cell is None:
        return _OTHER_ACTIVATIONS
    cells = max(_cells(ranges) for ranges in profiles)
    return cells * a_cell * (2 if is_fp32 else 1)


def _cells(ranges: ShapeRanges) -> int:
    """Return rows × cells of 64 × 64 pixels at the largest of a profile."""
    symbols = ("rows", "crop", "crop") if "crop" in ranges else ("rows", "height", "width")
    return prod(ranges[symbol][2] for symbol in symbols)


def pool_bytes(step: Mapping[str, Engine], ranges: ShapeRanges, io_dtype: np.dtype) -> int:
    """Return the bytes of all tensors of one denoising step at its largest: what passes between its engines."""
    return sum(_bytes(engine, ranges, io_dtype, inputs=False) for engine in step.values())


def _bytes(engine: Engine, ranges: ShapeRanges, io_dtype: np.dtype, inputs: bool = True) -> int:
    tensors = (*engine.inputs, *engine.outputs) if inputs else engine.outputs
    return sum(
        prod(tensor_shapes(tensor, ranges)[2]) * np.dtype(tensor.dtype or io_dtype).itemsize
        for tensor in tensors
        if all(not isinstance(dim, Axis) or dim.symbol in ranges for dim in tensor.dims)
    )


def report(memory: Memory) -> Sequence[str]:
    """Return the sum in two sentences."""
    parts = {
        "weights": sum(engine.plan.weights for engine in memory.engines),
        "activations": sum(engine.plan.activations for engine in memory.engines),
        "inputs and outputs": sum(engine.buffers for engine in memory.engines),
        "CUDA pool": memory.pool,
        "contexts": memory.processes,
    }
    listed = " + ".join(f"{name} {gib(value)}" for name, value in parts.items())
    fitting = [str(gb) for gb in GPUS_GB if memory.fits(gb)]
    where = f"fits GPUs of {', '.join(fitting)} GB" if fitting else f"fits no GPU of up to {GPUS_GB[-1]} GB"
    return f"GPU memory: {listed} = {gib(memory.total)} GiB", where


def gib(count: float) -> str:
    """Return bytes in GiB."""
    return f"{count / 2**30:.1f}"
