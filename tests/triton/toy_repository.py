"""A small model repository with one of each kind: engines, an ensemble and a Python model."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

_PYTHON_MODEL = """
import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
        setting = np.array([os.environ.get("INSTA_DEPTH_TOY", "").encode()], dtype=object)
        outputs = {
            "text_out": text,
            "setting": setting,
            "strided": np.arange(6.0).reshape(2, 3).T,
            "empty": np.zeros(0, np.float32),
            "read_only": np.frombuffer(b"abc", np.int8),
        }
        return pb_utils.InferenceResponse([pb_utils.Tensor(*output) for output in outputs.items()])
"""

_PYTHON_CONFIG = """
backend: "python"
input [ { name: "text" data_type: TYPE_STRING dims: [ -1 ] } ]
output [
  { name: "text_out" data_type: TYPE_STRING dims: [ -1 ] },
  { name: "setting" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "strided" data_type: TYPE_FP64 dims: [ 3, 2 ] },
  { name: "empty" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "read_only" data_type: TYPE_INT8 dims: [ 3 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""

_ENSEMBLE_CONFIG = """
platform: "ensemble"
max_batch_size: 8
input [
  { name: "a" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "b" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "factor" data_type: TYPE_FP32 dims: [ 1 ] }
]
output [ { name: "scaled" data_type: TYPE_FP32 dims: [ -1 ] } ]
ensemble_scheduling { step [
  { model_name: "adder" model_version: -1
    input_map { key: "a" value: "a" } input_map { key: "b" value: "b" }
    output_map { key: "sum" value: "total" } },
  { model_name: "scaler" model_version: -1
    input_map { key: "x" value: "total" } input_map { key: "factor" value: "factor" }
    output_map { key: "scaled" value: "scaled" } }
] }
"""

_BATCHER = "dynamic_batching { max_queue_delay_microseconds: 50000 }"

Tensors = list[onnx.ValueInfoProto]


def make(folder: Path) -> Path:
    """Write the repository into ``folder``."""
    engine(folder, "adder", _adder(), "max_batch_size: 8\n" + _BATCHER)
    engine(folder, "table", _table(), "max_batch_size: 4\n" + _BATCHER)
    engine(folder, "scaler", _scaler(), "max_batch_size: 8")
    engine(folder, "types", types(), "max_batch_size: 0")
    model(folder, "sum_then_scale", _ENSEMBLE_CONFIG)
    return make_lone(folder)


def make_lone(folder: Path) -> Path:
    """Write the Python model alone into ``folder``."""
    version = model(folder, "reader", _PYTHON_CONFIG)
    (version / "model.py").write_text(_PYTHON_MODEL)
    return folder


def engine(folder: Path, name: str, network: onnx.ModelProto, policy: str) -> Path:
    """Add ``network`` as an engine whose ``config.pbtxt`` holds policy only."""
    version = model(folder, name, f'name: "{name}"\n{policy}\ninstance_group [ {{ kind: KIND_CPU count: 1 }} ]\n')
    # Weights in a file of their own, as large networks have them.
    onnx.save(network, version / "model.onnx", save_as_external_data=True, size_threshold=0, location="weights")
    return version


def model(folder: Path, name: str, config: str) -> Path:
    """Add a model and return its version folder."""
    version = folder / name / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(config)
    return version


def _network(
    nodes: list[onnx.NodeProto], inputs: Tensors, outputs: Tensors, weights: Sequence[onnx.TensorProto] = ()
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "toy", inputs, outputs, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _tensor(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _adder() -> onnx.ModelProto:
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    nodes = [helper.make_node("Add", ["a", "b"], ["plain"]), helper.make_node("Add", ["plain", "zero"], ["sum"])]
    inputs = [_tensor(name, TensorProto.FLOAT, "batch", "width") for name in "ab"]
    return _network(nodes, inputs, [_tensor("sum", TensorProto.FLOAT, "batch", "width")], [zero])


def _scaler() -> onnx.ModelProto:
    inputs = [_tensor("x", TensorProto.FLOAT, "batch", "width"), _tensor("factor", TensorProto.FLOAT, "batch", 1)]
    node = helper.make_node("Mul", ["x", "factor"], ["scaled"])
    return _network([node], inputs, [_tensor("scaled", TensorProto.FLOAT, "batch", "width")])


def _table() -> onnx.ModelProto:
    """Looks a row up in a table of three; another row is an error of the network."""
    values = helper.make_tensor("values", TensorProto.FLOAT, [3], [10.0, 20.0, 30.0])
    node = helper.make_node("Gather", ["values", "row"], ["value"])
    inputs, outputs = [_tensor("row", TensorProto.INT64, "batch", 1)], [_tensor("value", TensorProto.FLOAT, "batch", 1)]
    return _network([node], inputs, outputs, [values])


def types() -> onnx.ModelProto:
    """Passes each of its tensors through; the first dimension is fixed, so it does not batch."""
    kinds = {
        "half": TensorProto.FLOAT16,
        "long": TensorProto.INT64,
        "byte": TensorProto.UINT8,
        "flag": TensorProto.BOOL,
    }
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds]
    inputs = [_tensor(name, kind, 1, 3, "width") for name, kind in kinds.items()]
    return _network(nodes, inputs, [_tensor(f"{name}_out", kind, 1, 3, "width") for name, kind in kinds.items()])
