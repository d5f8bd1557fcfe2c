"""bf16 engines on a processor without bf16: the same graph and the same, rounded weights, computed in fp32."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

BF16, FP32 = TensorProto.BFLOAT16, TensorProto.FLOAT


def widen(path: Path, output: Path) -> None:
    """Write ``path`` to ``output`` with every bf16 tensor and cast in fp32."""
    model = onnx.load(path)
    _widen_graph(model.graph)
    for function in model.functions:
        _widen_nodes(function.node)
        _widen_types(function.value_info)
    output.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, output)


def _widen_graph(graph: GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    _widen_types([*graph.input, *graph.output, *graph.value_info])
    _widen_nodes(graph.node)


def _widen_types(values: Iterable[onnx.ValueInfoProto]) -> None:
    for value in values:
        if value.type.tensor_type.elem_type == BF16:
            value.type.tensor_type.elem_type = FP32


def _widen_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == BF16:
                attribute.i = FP32
            _widen_tensor(attribute.t)
            for graph in (attribute.g, *attribute.graphs):
                _widen_graph(graph)


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == BF16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
