import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.engines import Engine
from export.errors import CheckpointError
from export.face_inputs import SAME_PERSON, detector_sides, recognizer_rows, same_person_cosine
from export.face_models import convert_face_model
from export.parity import open_session
from export.tensors import Axis, Tensor

ENGINE = Engine(
    "face_detector",
    (Tensor("image", (1, 3, Axis("side", 32), Axis("side", 32)), "float32"),),
    tuple(Tensor(name, (1, Axis("anchors"), 1), "float32") for name in ("score_8", "bbox_8")),
)


def _published(path, side, opset, outputs=2):
    """Numeric names, outputs without a batch dimension, one of them read by a later node."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input.1"], ["41"]),
        helper.make_node("Flatten", ["41"], ["43"], axis=2),
        helper.make_node("Relu", ["43"], ["44"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 1]) for name in ("43", "44")[:outputs]]
    image = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, *side])
    graph = helper.make_graph(nodes, "scrfd", [image], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


@pytest.mark.parametrize("opset", [11, 17])
def test_outputs_get_names_by_position_and_a_batch_dimension(tmp_path, opset):
    source = _published(tmp_path / "published.onnx", ["?", "?"], opset)
    convert_face_model(source, ENGINE, tmp_path / "model.onnx")
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    score, box = open_session(tmp_path / "model.onnx").run(["score_8", "bbox_8"], {"image": image})
    expected, expected_box = open_session(source).run(None, {"input.1": image})
    assert np.array_equal(score, expected[None])
    assert np.array_equal(box, expected_box[None])


def test_the_detectors_own_size_is_read_off_the_file(tmp_path):
    assert detector_sides(_published(tmp_path / "fixed.onnx", [320, 320], 11)) == (320,)
    assert detector_sides(_published(tmp_path / "free.onnx", ["?", "?"], 11)) == (640, 320, 160)
    with pytest.raises(CheckpointError, match="square"):
        detector_sides(_published(tmp_path / "oblong.onnx", [320, 640], 11))


def test_a_detector_without_keypoints_is_refused(tmp_path):
    source = _published(tmp_path / "published.onnx", ["?", "?"], 11, outputs=1)
    with pytest.raises(CheckpointError, match="2 outputs expected, found 1"):
        convert_face_model(source, ENGINE, tmp_path / "model.onnx")


def test_a_recogniser_that_is_fixed_to_one_row_stays_so(tmp_path):
    source = tmp_path / "published.onnx"
    nodes = [helper.make_node("Reshape", ["input.1", "shape"], ["1333"])]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 12])
    image = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, 2, 2])
    embedding = helper.make_tensor_value_info("1333", TensorProto.FLOAT, [1, 12])
    graph = helper.make_graph(nodes, "arcface", [image], [embedding], [shape])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    rows = recognizer_rows(source)
    engine = Engine(
        "face_recognizer",
        (Tensor("image", (rows, 3, 2, 2), "float32"),),
        (Tensor("embedding", (rows, 12), "float32"),),
    )
    convert_face_model(source, engine, tmp_path / "model.onnx")
    assert open_session(tmp_path / "model.onnx").get_inputs()[0].shape == [1, 3, 2, 2]


def test_a_recogniser_of_any_number_of_rows_is_told_from_a_fixed_one(tmp_path):
    source = _published(tmp_path / "published.onnx", [112, 112], 11, outputs=1)
    model = onnx.load(source)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "None"
    onnx.save(model, tmp_path / "free.onnx")
    assert recognizer_rows(source) == 1
    assert recognizer_rows(tmp_path / "free.onnx") is None


def test_a_recogniser_may_say_how_like_two_pictures_of_one_person_are(tmp_path):
    source = _published(tmp_path / "published.onnx", [112, 112], 11, outputs=1)
    assert same_person_cosine(source) == 0.2
    model = onnx.load(source)
    for said, expected in (("0.45", 0.45), ("-0.1", -0.1), ("4.5", None), ("nan", None), ("high", None)):
        helper.set_model_props(model, {SAME_PERSON: said})
        onnx.save(model, source)
        if expected is not None:
            assert same_person_cosine(source) == expected
            continue
        with pytest.raises(CheckpointError, match=rf"same_person_cosine is '{said}'; a number between -1 and 1"):
            same_person_cosine(source)
