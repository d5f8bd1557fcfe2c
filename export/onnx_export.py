"""One PyTorch module → one ONNX file, with the engine table's names and dynamic axes."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.export import Dim

from .engines import Engine, sample_inputs
from .errors import ExportError
from .precision import Precision
from .tensors import Axis, Tensor

OPSET = {Precision.FP32: 18, Precision.FP16: 18, Precision.BF16: 22}
"""ONNX's; convolutions in bf16 need 22."""
LARGEST = {
    "rows": 32,
    "height": 64,
    "width": 64,
    "crop": 64,
    "tokens": 77 * 64,
    "depth_height": 128,
    "depth_width": 128,
}
"""Upper limits of the dynamic dimensions for torch.export; heights and widths in 64-pixel cells."""


class _CastAtSignature(nn.Module):
    """Gives a network inputs and outputs of another float type.

    Tensors whose type the table fixes keep it: bf16 would round the timestep 981 to 980.
    """

    def __init__(self, module: nn.Module, engine: Engine, inside: torch.dtype, outside: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.inside, self.outside = inside, outside
        self.is_input_cast = [tensor.dtype is None for tensor in engine.inputs]
        self.is_output_cast = [tensor.dtype is None for tensor in engine.outputs]

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``outside`` → ``inside`` → the network → ``outside``."""
        outputs = self.module(*_cast(inputs, self.is_input_cast, self.inside))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(_cast(outputs, self.is_output_cast, self.outside))


def _cast(tensors: tuple[torch.Tensor, ...], is_cast: list[bool], dtype: torch.dtype) -> list[torch.Tensor]:
    return [x.to(dtype) if cast else x for x, cast in zip(tensors, is_cast, strict=True)]


def export_onnx(
    module: nn.Module, engine: Engine, path: Path, precision: Precision, io_dtype: np.dtype | None = None
) -> None:
    """Write ``module``, which is in ``precision``, as ``path``; the weights of a large one go to files beside it.

    ``io_dtype``: the float type of its inputs and outputs; None: the precision's own. The file casts if they differ.
    The network is traced, not run, so fp16 costs no more than fp32 on a CPU.
    """
    io_dtype = io_dtype or precision.io_dtype
    sample = sample_inputs(engine, engine.sizes[0], io_dtype)
    inside, outside = precision.torch_dtype, torch.float16 if io_dtype == np.float16 else torch.float32
    module = _CastAtSignature(module, engine, inside, outside) if inside is not outside else module
    with _quiet(), torch.no_grad():
        program: torch.onnx.ONNXProgram | None = torch.onnx.export(
            module,
            tuple(torch.from_numpy(array) for array in sample.values()),
            input_names=list(sample),
            output_names=[tensor.name for tensor in engine.outputs],
            dynamic_shapes=_dynamic_shapes(module, engine),
            opset_version=OPSET[precision],
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError(f"{engine.name}: PyTorch exported nothing")
    drop_traces(program)
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(path, external_data=_is_large(module))
    onnx.checker.check_model(path, full_check=True)  # types too: without them a mixed Concat passes


def drop_traces(program: torch.onnx.ONNXProgram) -> None:
    """Remove the exporter's stack traces at each node: they contain the exporting machine's folders."""
    functions = program.model.functions.values()
    for node in chain(program.model.graph.all_nodes(), *(function.all_nodes() for function in functions)):
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def _is_large(module: nn.Module) -> bool:
    """Protobuf limits a file to 2 GB; from a tenth of that on, separate weights load faster, memory-mapped."""
    return sum(p.numel() * p.element_size() for p in module.parameters()) > 200e6


def _dynamic_shapes(module: nn.Module, engine: Engine) -> tuple[Any, ...]:
    dims = {symbol: Dim(symbol, min=1, max=LARGEST[symbol]) for symbol in sorted(engine.symbols)}
    shapes = [_tensor_shape(tensor, dims) for tensor in engine.inputs]
    named = _positional_count(module)
    return tuple(shapes) if named >= len(shapes) else (*shapes[:named], tuple(shapes[named:]))


def _tensor_shape(tensor: Tensor, dims: dict[str, Any]) -> dict[int, Any]:
    return {
        i: dim.factor * dims[dim.symbol] if dim.factor > 1 else dims[dim.symbol]
        for i, dim in enumerate(tensor.dims)
        if isinstance(dim, Axis)
    }


def _positional_count(module: nn.Module) -> int:
    """The number of named inputs of ``forward``; the rest are ``*args``."""
    code = type(module).forward.__code__
    return code.co_argcount - 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's internal messages off the progress display."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
