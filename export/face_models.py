"""The published face networks are ONNX files already. They get the engine table's names and are otherwise unchanged.

Their tensor names are numbers, and SCRFD's outputs have no batch dimension, so everything is taken by position.
"""

from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from .engines import Engine
from .errors import CheckpointError
from .face_inputs import model_input
from .tensors import Axis, Tensor


def convert_face_model(source: Path, engine: Engine, path: Path) -> None:
    """Write ``source`` as ``path`` with the names and dynamic axes of ``engine``."""
    model = onnx.load(source)
    graph = model.graph
    if len(graph.output) != len(engine.outputs):
        raise CheckpointError(f"{source}: {len(engine.outputs)} outputs expected, found {len(graph.output)}")
    _rename(model, model_input(model, source).name, engine.inputs[0].name)
    del graph.value_info[:]
    for value, tensor in zip(list(graph.output), engine.outputs, strict=True):
        _give_name_and_batch(model, value, tensor)
    outputs = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, _dims(t)) for t in engine.outputs]
    del graph.output[:]
    graph.output.extend(outputs)
    _open_axes(model_input(model, source), engine.inputs[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    onnx.checker.check_model(path)


def _dims(tensor: Tensor) -> list[int | str]:
    return [dim.symbol if isinstance(dim, Axis) else dim for dim in tensor.dims]


def _give_name_and_batch(model: ModelProto, value: ValueInfoProto, tensor: Tensor) -> None:
    missing = len(tensor.dims) - len(value.type.tensor_type.shape.dim)
    if missing == 0:
        _rename(model, value.name, tensor.name)
        return
    model.graph.node.append(_unsqueeze(model, value.name, tensor.name))


def _unsqueeze(model: ModelProto, source: str, target: str) -> NodeProto:
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < 13:  # axes were an attribute then; the published files are of opset 11
        return helper.make_node("Unsqueeze", [source], [target], axes=[0])
    axes = f"{target}_batch_axis"
    model.graph.initializer.append(helper.make_tensor(axes, TensorProto.INT64, [1], [0]))
    return helper.make_node("Unsqueeze", [source, axes], [target])


def _rename(model: ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        if value.name == old:
            value.name = new


def _open_axes(value: ValueInfoProto, tensor: Tensor) -> None:
    """Make the table's dynamic axes dynamic, except the picture size if the file fixes it."""
    for axis, (dim, wanted) in enumerate(zip(value.type.tensor_type.shape.dim, tensor.dims, strict=True)):
        fixed_picture = axis > 0 and dim.dim_value > 0
        if isinstance(wanted, Axis) and not fixed_picture:
            dim.dim_param = wanted.symbol
        elif isinstance(wanted, int):
            dim.dim_value = wanted
