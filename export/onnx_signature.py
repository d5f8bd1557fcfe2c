"""Checks that an ONNX file has the engine table's signature and nothing that TensorRT cannot take."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, ValueInfoProto, helper

from .checkpoint.files import check_readable
from .engines import Engine
from .errors import ExportError
from .tensors import Axis, Tensor

DTYPES = frozenset(
    TensorProto.DataType.Value(name)
    for name in ("FLOAT", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "INT64", "INT32", "INT8", "UINT8", "BOOL")
)
"""Element types that TensorRT 10 and 11 support: no doubles, strings or complex numbers."""


class SignatureError(ExportError):
    """An ONNX file does not match the engine table."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file without the weights beside it; raises `ExportError`."""
    check_readable(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ExportError(f"{path} is not a whole ONNX file: python -m export onnx writes it again") from error
    if not model.graph.output:
        raise ExportError(f"{path} is not a whole ONNX file: it has no outputs")
    return model


def check_signature(engine: Engine, path: Path, io_dtype: np.dtype) -> None:
    """Raise `SignatureError` naming what differs from the table or is unknown to TensorRT; weights are not read.

    ``io_dtype``: the repository's float type, that of tensors whose type the table leaves open.
    """
    model = read_onnx(path)
    faults = [*_signature_faults(engine, model, io_dtype), *_foreign_types(model), *_foreign_operators(model)]
    if faults:
        raise SignatureError(f"{path}: " + "; ".join(faults))


def _signature_faults(engine: Engine, model: onnx.ModelProto, io_dtype: np.dtype) -> Iterator[str]:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for kind, values, tensors in (
        ("input", inputs, engine.inputs),
        ("output", model.graph.output, engine.outputs),
    ):
        found, wanted = {value.name: value for value in values}, {tensor.name: tensor for tensor in tensors}
        if found.keys() != wanted.keys():
            yield f"its {kind}s are {sorted(found)}, the table says {sorted(wanted)}"
            continue
        for name, tensor in wanted.items():
            yield from _shape_faults(found[name], tensor)
            yield from _type_faults(found[name], tensor, io_dtype)


def _shape_faults(value: ValueInfoProto, tensor: Tensor) -> Iterator[str]:
    dims = value.type.tensor_type.shape.dim
    if len(dims) != len(tensor.dims):
        yield f"{tensor.name} has {len(dims)} dimensions, the table says {len(tensor.dims)}"
        return
    for index, (dim, wanted) in enumerate(zip(dims, tensor.dims, strict=True)):
        fixed = dim.dim_value if dim.HasField("dim_value") else None
        if isinstance(wanted, Axis) and fixed is not None:
            yield f"dimension {index} of {tensor.name} is fixed to {fixed}, the table says it varies"
        if isinstance(wanted, int) and fixed != wanted:
            yield f"dimension {index} of {tensor.name} is {fixed or dim.dim_param}, the table says {wanted}"


def _type_faults(value: ValueInfoProto, tensor: Tensor, io_dtype: np.dtype) -> Iterator[str]:
    found = value.type.tensor_type.elem_type
    wanted = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype or io_dtype))
    if found != wanted:
        names = [TensorProto.DataType.Name(number) for number in (found, wanted)]
        yield f"{tensor.name} is {names[0]}, the table says {names[1]}"


def _foreign_types(model: onnx.ModelProto) -> Iterator[str]:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    types = {value.type.tensor_type.elem_type for value in values} | {t.data_type for t in model.graph.initializer}
    for foreign in sorted(types - DTYPES - {TensorProto.UNDEFINED}):
        yield f"it holds {TensorProto.DataType.Name(foreign)}, which TensorRT does not know"


def _foreign_operators(model: onnx.ModelProto) -> Iterator[str]:
    functions = {(function.domain, function.name) for function in model.functions}
    domains = {
        f"{node.domain}.{node.op_type}"
        for node in model.graph.node
        if node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) not in functions
    }
    for operator in sorted(domains):
        yield f"it uses {operator}, which is not among ONNX's own operators"
