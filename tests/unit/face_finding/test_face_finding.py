"""Our way through insightface's classes against insightface's own, over networks of the same interface.

The detector is a real ONNX graph with SCRFD's nine outputs that takes red for a face; the recognizer is a
random convolution.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from face_finding import FaceAnalyst
from face_finding.orientation import SURE_SCORE
from insightface.app.common import Face
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.scrfd import SCRFD
from onnx import TensorProto, helper, numpy_helper

from insta_depth_shared.bls import Arrays, Call
from insta_depth_shared.errors import InvalidInput
from insta_depth_shared.manifest import FaceFacts

STRIDES = (8, 16, 32)
RED = (255, 0, 0)
COARSE = 160
"""The side of the second look; this detector would put larger faces there, where SCRFD finds the same ones."""

pytestmark = pytest.mark.filterwarnings("ignore:.*estimate.*is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("faces")
    files = {name: folder / f"{name}.onnx" for name in ("face_detector", "face_recognizer")}
    onnx.save(red_detector(), files["face_detector"])
    onnx.save(random_recognizer(), files["face_recognizer"])
    return files


@pytest.fixture(scope="module")
def call(model_files: dict[str, Path]) -> Call:
    sessions = {name: onnxruntime.InferenceSession(file) for name, file in model_files.items()}

    def run(model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        return dict(zip(outputs, sessions[model].run(list(outputs), dict(inputs)), strict=True))

    return run


@pytest.fixture
def insightface_detector(model_files: dict[str, Path]) -> SCRFD:
    detector = SCRFD(str(model_files["face_detector"]))
    detector.prepare(ctx_id=0, det_thresh=0.5)
    return detector


def facts(sizes: Sequence[int] = (640, 320, 160), threshold: float = 0.5) -> FaceFacts:
    return FaceFacts(512, token_count=16, detector_sizes=list(sizes), detector_threshold=threshold)


def picture(*boxes: tuple[int, int, int, int], height: int = 480, width: int = 640) -> np.ndarray:
    """A noisy dark picture with red boxes, given as x, y, width, height."""
    image = np.random.default_rng(0).integers(0, 20, (height, width, 3), dtype=np.uint8)
    for x, y, box_width, box_height in boxes:
        image[y : y + box_height, x : x + box_width] = RED
    return image


def largest_by_insightface(detector: SCRFD, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """What the published pipeline does: BGR in, all faces sorted by area, the last one taken."""
    boxes, keypoints = detector.detect(image[..., ::-1], input_size=(640, 640))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    largest = sorted(range(len(boxes)), key=areas.__getitem__)[-1]
    return boxes[largest], keypoints[largest], len(boxes)


def test_one_face_is_exactly_insightfaces(call: Call, insightface_detector: SCRFD) -> None:
    image = picture((304, 200, 8, 8))
    found = FaceAnalyst(call, facts()).analyse(image)
    box, keypoints, count = largest_by_insightface(insightface_detector, image)
    np.testing.assert_array_equal(found.face_count, [1])
    assert count == 1
    np.testing.assert_array_equal(found.bbox, box[:4])
    np.testing.assert_array_equal(found.det_score, box[4:])
    np.testing.assert_array_equal(found.keypoints, keypoints)


@pytest.mark.parametrize("size", [(480, 640), (1024, 1280), (90, 50), (1280, 384)])
def test_of_several_faces_the_largest_is_taken(call: Call, insightface_detector: SCRFD, size: tuple[int, int]) -> None:
    insightface_detector.prepare(ctx_id=0, det_thresh=SURE_SCORE)  # a red box looks the same from every side
    height, width = size
    call, _ = with_recorded_sides(call, blind=lambda image: image.shape[-1] == COARSE)
    image = picture(
        (4, 4, width // 9, width // 9), (width // 3, 20, width // 2, height // 2), height=height, width=width
    )
    found = FaceAnalyst(call, facts(threshold=SURE_SCORE)).analyse(image)
    box, keypoints, count = largest_by_insightface(insightface_detector, image)
    assert count > 1
    assert found.face_count.tolist() == [count]
    np.testing.assert_array_equal(found.bbox, box[:4])
    np.testing.assert_array_equal(found.keypoints, keypoints)


def test_the_embedding_is_insightfaces_before_normalising(call: Call, model_files: dict[str, Path]) -> None:
    image = picture((200, 100, 180, 200))
    found = FaceAnalyst(call, facts()).analyse(image)
    recognizer = ArcFaceONNX(str(model_files["face_recognizer"]))
    expected = recognizer.get(image[..., ::-1], Face(kps=found.keypoints))
    np.testing.assert_array_equal(found.embedding, expected)
    assert found.embedding.shape == (512,)
    assert not np.isclose(np.linalg.norm(found.embedding), 1, atol=0.1)


def test_every_output_has_its_declared_type(call: Call) -> None:
    analyst = FaceAnalyst(call, facts())
    for image in (picture((200, 100, 180, 200)), picture()):
        found = vars(analyst.analyse(image))
        assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
            "face_count": ("int32", (1,)),
            "bbox": ("float32", (4,)),
            "keypoints": ("float32", (5, 2)),
            "embedding": ("float32", (512,)),
            "det_score": ("float32", (1,)),
        }


def test_a_picture_without_a_face_gives_zeros_after_every_attempt(call: Call) -> None:
    call, sides = with_recorded_sides(call)
    found = FaceAnalyst(call, facts()).analyse(picture())
    assert all(not array.any() for array in vars(found).values())
    assert sides == [640, 160, 320, 640, 320, 160] + [640, 160] * 3


def test_a_face_too_large_for_one_input_is_found_at_the_next(call: Call) -> None:
    call, sides = with_recorded_sides(call, blind=lambda image: image.shape[-1] > 320 or len(sides) == 2)
    found = FaceAnalyst(call, facts()).analyse(picture((200, 100, 180, 200)))
    assert sides[:3] == [640, COARSE, 320]
    assert found.face_count[0] > 0


def test_a_fixed_network_is_asked_at_its_own_size_only(call: Call) -> None:
    call, sides = with_recorded_sides(call)
    FaceAnalyst(call, facts(sizes=[320])).analyse(picture())
    assert set(sides) == {320}


def test_a_face_that_fills_the_frame_is_found_in_a_border_and_mapped_back(call: Call) -> None:
    red_everywhere = np.full((480, 640, 3), RED, np.uint8)
    call, sides = with_recorded_sides(call, blind=lambda image: image[0, 0, 0, 0] > 0)
    found = FaceAnalyst(call, facts()).analyse(red_everywhere)
    assert sides[:4] == [640, COARSE, 320, 640]
    assert found.face_count[0] > 0
    x, y = (found.bbox[:2] + found.bbox[2:]) / 2
    assert 0 <= x <= 640
    assert 0 <= y <= 480


def test_mapping_back_from_the_border_keeps_the_place(call: Call) -> None:
    """The border doubles this picture, so that the plain one at half the input size has the same scale."""
    image = picture((320, 304, 16, 16), height=640, width=640)
    plain = FaceAnalyst(call, facts(sizes=[320])).analyse(image)
    blind_at_first, sides = with_recorded_sides(call, blind=lambda _: len(sides) <= 3)
    bordered = FaceAnalyst(blind_at_first, facts(sizes=[640])).analyse(image)
    assert sides[:4] == [640] * 4
    np.testing.assert_allclose(bordered.bbox, plain.bbox, atol=1e-3)
    np.testing.assert_allclose(bordered.keypoints, plain.keypoints, atol=1e-3)


def test_the_threshold_comes_from_the_facts(call: Call) -> None:
    image = picture((200, 100, 180, 200))
    score = FaceAnalyst(call, facts()).analyse(image).det_score[0]
    assert FaceAnalyst(call, facts(threshold=float(score) - 0.05)).analyse(image).face_count[0] > 0
    assert FaceAnalyst(call, facts(threshold=0.999)).analyse(image).face_count[0] == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 2000)])
def test_tiny_and_thin_pictures_are_no_error(call: Call, size: tuple[int, int]) -> None:
    assert FaceAnalyst(call, facts()).analyse(np.zeros((*size, 3), np.uint8)).face_count.tolist() == [0]


def test_a_picture_of_no_pixels_is_refused(call: Call) -> None:
    with pytest.raises(InvalidInput, match="image: 5×0 pixels are below the minimum 1×1"):
        FaceAnalyst(call, facts()).analyse(np.zeros((0, 5, 3), np.uint8))


def with_recorded_sides(call: Call, blind: Callable[[np.ndarray], bool] = lambda _: False) -> tuple[Call, list[int]]:
    """Wrap ``call``: note the detector's input sides, and see nothing in the inputs that ``blind`` picks."""
    sides: list[int] = []

    def run(model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        arrays = call(model, inputs, outputs)
        if model != "face_detector":
            return arrays
        sides.append(inputs["image"].shape[-1])
        hide = blind(inputs["image"])
        return {name: array * 0 if hide and "score" in name else array for name, array in arrays.items()}

    return run, sides


def red_detector() -> onnx.ModelProto:
    """SCRFD's interface: scores high where the mean colour of a cell is red, boxes and points by chance."""
    rng = np.random.default_rng(1)
    nodes, weights = [], []
    for stride in STRIDES:
        window = [stride, stride]
        nodes.append(
            helper.make_node("AveragePool", ["image"], [f"cell_{stride}"], kernel_shape=window, strides=window)
        )
        for part, width in {"score": 1, "bbox": 4, "kps": 10}.items():
            kernel, bias = head_weights(part, 2 * width, rng)
            weights += [
                numpy_helper.from_array(kernel.astype(np.float32), f"{part}_{stride}_kernel"),
                numpy_helper.from_array(bias.astype(np.float32), f"{part}_{stride}_bias"),
                numpy_helper.from_array(np.array([1, -1, width]), f"{part}_{stride}_shape"),
            ]
            nodes += head_nodes(part, stride)
    outputs = [
        helper.make_tensor_value_info(f"{part}_{stride}", TensorProto.FLOAT, [1, f"n_{stride}", width])
        for part, width in {"score": 1, "bbox": 4, "kps": 10}.items()
        for stride in STRIDES
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])
    return as_model(nodes, [image], outputs, weights)


def head_weights(part: str, channels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if part == "score":
        kernel = np.array([[5.0, -3.0, -3.0], [4.5, -3.0, -3.0]])
        return kernel[..., None, None], np.full(2, -7.0)
    if part == "bbox":
        return rng.normal(0, 0.2, (channels, 3, 1, 1)), np.full(channels, 2.0)
    upright = np.array([[-1, -1], [1, -1], [0, 0], [-0.8, 1], [0.8, 1]])
    return rng.normal(0, 0.1, (channels, 3, 1, 1)), np.tile(upright.ravel(), channels // 10)


def head_nodes(part: str, stride: int) -> list[onnx.NodeProto]:
    name = f"{part}_{stride}"
    flat = f"{name}_flat" if part == "score" else name
    nodes = [
        helper.make_node("Conv", [f"cell_{stride}", f"{name}_kernel", f"{name}_bias"], [f"{name}_map"]),
        helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [flat]),
    ]
    return [*nodes, helper.make_node("Sigmoid", [flat], [name])] if part == "score" else nodes


def random_recognizer() -> onnx.ModelProto:
    kernel = np.random.default_rng(2).normal(size=(512, 3, 16, 16)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["map"], strides=[16, 16]),
        helper.make_node("Relu", ["map"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["embedding"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 3, 112, 112])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["rows", 512])
    return as_model(nodes, [image], [embedding], [numpy_helper.from_array(kernel, "kernel")])


def as_model(nodes: list, inputs: list, outputs: list, weights: list) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "synthetic", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
