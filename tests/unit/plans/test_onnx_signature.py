"""An ONNX file that is not the engine of the table, or that TensorRT could not take, is refused by name."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from export.engines import Engine, engine_table
from export.facts import load_facts
from export.onnx_signature import SignatureError, check_signature
from export.repository import FACTS


@pytest.fixture(scope="module")
def table(miniature_repository: Path) -> dict[str, Engine]:
    return engine_table(load_facts(miniature_repository / FACTS))


def test_every_exported_engine_is_as_the_table_says(table: dict[str, Engine], miniature_repository: Path) -> None:
    for name, engine in table.items():
        check_signature(engine, miniature_repository / name / "1" / "model.onnx")


def renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "embeddings"


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def other_width(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 256


def lost_dimension(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[1]


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
        check_signature(table["identity_projector"], tmp_path / "model.onnx")
