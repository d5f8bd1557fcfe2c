"""Comparing an exported network with its PyTorch module (or its published ONNX file) on ONNX Runtime."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented
from torch import nn

from .engines import Engine, sample_inputs
from .errors import ParityError
from .precision import Precision

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], list[np.ndarray]]
Sizes = Mapping[str, int]

TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 2e-2, Precision.BF16: 6e-2}
"""Maximum difference, as a share of the reference's largest value."""


@dataclass(frozen=True)
class ParityRow:
    """One network at one size; ``error`` is the largest over its outputs."""

    engine: str
    shapes: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return bool(self.error <= self.tolerance)


def open_session(path: Path) -> ort.InferenceSession:
    """Return a session for one ONNX file on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def check_module(
    module: nn.Module, engine: Engine, path: Path, precision: Precision, io_dtype: np.dtype | None = None
) -> Iterator[ParityRow]:
    """Yield a row for each size of the table. The module runs in fp32: fp16 is very slow on a CPU.

    ``io_dtype``: the float type of the file's inputs and outputs; None: the precision's own.
    """
    reference = module.float()

    def run(inputs: Arrays) -> list[np.ndarray]:
        tensors = [torch.from_numpy(a.astype(np.float32) if a.dtype == np.float16 else a) for a in inputs.values()]
        with torch.no_grad():
            outputs = reference(*tensors)
        return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    yield from _check_file(run, engine, path, precision, io_dtype or precision.io_dtype)


def check_face_model(source: Path, engine: Engine, path: Path) -> Iterator[ParityRow]:
    """Compare with the published file, which is run row by row because its batch may be fixed."""
    session = open_session(source)
    name = session.get_inputs()[0].name

    ranks = [len(tensor.dims) for tensor in engine.outputs]

    def run(inputs: Arrays) -> list[np.ndarray]:
        (images,) = inputs.values()
        rows = [session.run(None, {name: image[None]}) for image in images]
        outputs = zip(ranks, zip(*rows, strict=True), strict=True)
        return [np.concatenate([y if y.ndim == rank else y[None] for y in ys]) for rank, ys in outputs]

    yield from _check_file(run, engine, path, Precision.FP32, Precision.FP32.io_dtype)


def compare(
    engine: Engine, every_size: Iterable[Sizes], dtype: np.dtype, reference: Run, tested: Run, tolerance: float
) -> Iterator[ParityRow]:
    """Yield a row for each size: the largest difference of any output, both sides on the same inputs.

    ``dtype`` is the inputs' float type; ``reference`` and ``tested`` return the outputs in the table's order.
    """
    for sizes in every_size:
        inputs = sample_inputs(engine, sizes, dtype)
        outputs = zip(tested(inputs), reference(inputs), strict=True)
        error = max(relative_error(actual, expected) for actual, expected in outputs)
        shapes = "×".join(str(n) for n in next(iter(inputs.values())).shape)
        yield ParityRow(engine.name, shapes, error, tolerance)


def _check_file(
    reference: Run, engine: Engine, path: Path, precision: Precision, io_dtype: np.dtype
) -> Iterator[ParityRow]:
    session = _session_to_check(engine, path, precision)

    def run(inputs: Arrays) -> list[np.ndarray]:
        return list(session.run(None, dict(inputs)))

    yield from compare(engine, engine.sizes, io_dtype, reference, run, TOLERANCE[precision])


def _session_to_check(engine: Engine, path: Path, precision: Precision) -> ort.InferenceSession:
    try:
        return open_session(path)
    except NotImplemented as error:  # bf16 needs a GPU
        raise ParityError(
            f"{engine.name}: ONNX Runtime cannot run it in {precision.value} on this machine's processor, "
            f"so it was not checked; --no-verify exports it unchecked"
        ) from error


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference as a share of the largest expected value; raises `ParityError` on other shapes."""
    if actual.shape != expected.shape:
        raise ParityError(f"shapes differ: {actual.shape} and {expected.shape}")
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
    if expected.dtype == np.uint8:  # the last digit may be rounded differently
        difference = max(difference - 1, 0)
    return float(difference / max(np.abs(expected.astype(np.float64)).max(), 1e-12))
