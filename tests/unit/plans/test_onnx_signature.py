"""An ONNX file that is not the engine of the table, or that TensorRT could not take, is refused by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.engines import Engine, engine_table
from export.facts import load_facts
from export.onnx_signature import SignatureError, check_signature
from export.plans.build import Builder
from export.repository import FACTS
from export.tensors import Axis, Tensor

FP32, FP16 = np.dtype(np.float32), np.dtype(np.float16)


@pytest.fixture(scope="module")
def table(miniature_repository: Path) -> dict[str, Engine]:
    return engine_table(load_facts(miniature_repository / FACTS))


def test_every_exported_engine_is_as_the_table_says(table: dict[str, Engine], miniature_repository: Path) -> None:
    for name, engine in table.items():
        check_signature(engine, miniature_repository / name / "1" / "model.onnx", FP32)


def renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "embeddings"


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def other_width(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 256


def lost_dimension(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[1]


def other_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def doubles(model: onnx.ModelProto) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("inside", TensorProto.DOUBLE, [1]))


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Attention", ["a"], ["b"], domain="com.microsoft"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (renamed_output, r"outputs are \['embeddings'\], the table says \['prompt_image_emb'\]"),
        (fixed_batch, "dimension 0 of face_emb is fixed to 1, the table says it varies"),
        (other_width, "dimension 1 of face_emb is 256, the table says 512"),
        (lost_dimension, "face_emb has 1 dimensions, the table says 2"),
        (other_type, "prompt_image_emb is FLOAT16, the table says FLOAT"),
        (doubles, "it holds DOUBLE, which TensorRT does not know"),
        (foreign_operator, "it uses com.microsoft.Attention"),
    ],
)
def test_what_differs_is_named(
    table: dict[str, Engine],
    miniature_repository: Path,
    tmp_path: Path,
    damage: Callable[[onnx.ModelProto], None],
    message: str,
) -> None:
    model = onnx.load(miniature_repository / "identity_projector" / "1" / "model.onnx")
    damage(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(SignatureError, match=message):
        check_signature(table["identity_projector"], tmp_path / "model.onnx", FP32)


@pytest.mark.parametrize(
    ("name", "tensor", "found", "wanted"),
    [
        ("identity_projector", "face_emb", TensorProto.FLOAT, "FLOAT16"),
        ("unet", "sample", TensorProto.FLOAT, "FLOAT16"),
        ("vae_decoder", "image", TensorProto.FLOAT, "UINT8"),
        ("text_encoder", "input_ids", TensorProto.INT32, "INT64"),
        ("unet", "timestep", TensorProto.FLOAT16, "FLOAT"),
        ("face_detector", "image", TensorProto.FLOAT16, "FLOAT"),
        ("face_recognizer", "embedding", TensorProto.FLOAT16, "FLOAT"),
        ("vae_decoder", "latents", TensorProto.FLOAT16, "FLOAT"),
    ],
)
def test_another_type_than_an_fp16_repository_s_is_named(
    table: dict[str, Engine], tmp_path: Path, name: str, tensor: str, found: int, wanted: str
) -> None:
    path = tmp_path / "model.onnx"
    save_signature(table[name], path)
    check_signature(table[name], path, FP16)
    save_signature(table[name], path, {tensor: found})
    message = f": {tensor} is {TensorProto.DataType.Name(found)}, the table says {wanted}$"
    with pytest.raises(SignatureError, match=message):
        check_signature(table[name], path, FP16)


def save_signature(engine: Engine, path: Path, others: Mapping[str, int] = MappingProxyType({})) -> None:
    """Write an ONNX file with the inputs and outputs of ``engine`` in fp16, but for ``others``, and nothing between."""

    def value(tensor: Tensor) -> onnx.ValueInfoProto:
        kind = others.get(tensor.name, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype or FP16)))
        dims = [dim.symbol if isinstance(dim, Axis) else dim for dim in tensor.dims]
        return helper.make_tensor_value_info(tensor.name, kind, dims)

    inputs, outputs = ([value(tensor) for tensor in tensors] for tensors in (engine.inputs, engine.outputs))
    onnx.save(helper.make_model(helper.make_graph([], engine.name, inputs, outputs)), path)


def test_the_builder_refuses_an_engine_of_another_type_before_tensorrt_sees_it(
    table: dict[str, Engine], miniature_repository: Path
) -> None:
    path = miniature_repository / "identity_projector" / "1" / "model.onnx"
    with pytest.raises(SignatureError, match="face_emb is FLOAT, the table says FLOAT16"):
        Builder().build(table["identity_projector"], path, FP16, [])
