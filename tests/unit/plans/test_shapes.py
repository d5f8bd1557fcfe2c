"""Profiles admit what the engines are really sent, and no more."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from transformers import DPTImageProcessorPil

from export.depth import DepthInput
from export.engines import engine_table, sample_inputs
from export.errors import ExportError
from export.facts import Facts, load_facts
from export.plans.repository import PlanRepository
from export.repository import FACTS
from export.shapes import ProfileMaker, Size, admits, is_of_fixed_size, picture_sizes, tensor_shapes
from export.tensors import Axis
from insta_depth_shared.manifest import ImageFacts
from insta_depth_shared.pictures import resize_for_model
from tests.unit.plans.conftest import make_plans

ENGINES = (
    "face_detector",
    "face_recognizer",
    "identity_projector",
    "text_encoder",
    "text_encoder_2",
    "depth_estimator",
    "identitynet",
    "controlnet_depth",
    "unet",
    "vae_decoder",
    "vae_encoder",
)


@pytest.fixture(scope="module")
def facts(miniature_repository: Path) -> Facts:
    return load_facts(miniature_repository / FACTS)


@pytest.mark.slow
@pytest.mark.parametrize("image", [ImageFacts(1024, 1280), ImageFacts(128, 192), ImageFacts(512, 704)])
def test_the_sizes_are_those_that_pictures_are_resized_to(image: ImageFacts) -> None:
    """Whatever `max_side` a request asks for; and none of the sizes is beyond reach."""
    sides = [(40, width) for width in range(40, 161)]
    made = set()
    for max_side in range(image.smallest_max_side, image.max_side + 1, 64):
        for height, width in [*sides, *((width, height) for height, width in sides)]:
            resized = resize_for_model(np.zeros((height, width, 3), np.uint8), image.min_side, max_side, 64)
            made.add(resized.shape[:2])
    assert set(picture_sizes(image)) == made


@pytest.mark.parametrize(("largest", "smallest"), [(1280, 640), (1024, 512), (704, 384), (192, 128), (64, 64)])
def test_a_request_may_halve_the_longer_side(largest: int, smallest: int) -> None:
    assert ImageFacts(64, largest).smallest_max_side == smallest


def test_the_unet_of_full_sdxl_gets_the_sizes_that_instantid_resizes_to(plans: PlanRepository) -> None:
    plans.__dict__["manifest"] = dataclasses.replace(plans.manifest, image=ImageFacts(1024, 1280))
    (ranges,) = plans.profiles("unet")
    assert ranges["height"] == (2, 20, 20)  # 1280×320 at 640 is 640×160, floored to 128
    assert ranges["width"] == (2, 15, 20)  # an upright photograph of 4:3 is 1280×960
    assert ranges["rows"] == (1, 2, 16)
    assert ranges["tokens"] == (77, 77, 616)


@pytest.mark.parametrize("name", ENGINES)
def test_the_smallest_and_the_usual_shapes_run(plans: PlanRepository, name: str) -> None:
    """ONNX Runtime takes the corners of the profile, so the graph's symbolic dimensions admit them."""
    engine, (ranges, *_) = plans.table[name], plans.profiles(name)
    session = ort.InferenceSession(plans.repository / name / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    for which in (0, 1):
        sizes = {symbol: values[which] for symbol, values in ranges.items()}
        outputs = session.run(None, sample_inputs(engine, sizes, np.dtype(np.float32)))
        for tensor, output in zip(engine.outputs, outputs, strict=True):
            if not any(isinstance(dim, Axis) and dim.symbol.startswith("anchors") for dim in tensor.dims):
                assert output.shape == tensor.shape(sizes)


@pytest.mark.parametrize("name", ENGINES)
def test_the_graph_s_symbols_agree_at_every_corner(plans: PlanRepository, name: str) -> None:
    """One symbol of the ONNX graph has one value over all inputs, at the largest shapes as well."""
    engine, (ranges, *_) = plans.table[name], plans.profiles(name)
    graph = onnx.load(plans.repository / name / "1" / "model.onnx", load_external_data=False).graph
    symbols = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    for which in range(3):
        values: dict[str, int] = {}
        for tensor in engine.inputs:
            shape = tensor_shapes(tensor, ranges)[which]
            for dim, size in zip(symbols[tensor.name], shape, strict=True):
                expected = dim.dim_value if dim.HasField("dim_value") else values.setdefault(dim.dim_param, size)
                assert size == expected, (tensor.name, dim.dim_param)


def test_a_profile_of_the_depth_estimator_admits_every_picture(facts: Facts, miniature_repository: Path) -> None:
    from transformers import AutoImageProcessor

    plans = make_plans(miniature_repository, miniature_repository)
    profiles = plans.profiles("depth_estimator")
    (pixels,) = plans.table["depth_estimator"].inputs
    processor = AutoImageProcessor.from_pretrained(
        miniature_repository / "insta_depth_stream" / "1" / "depth_processor", backend="pil"
    )
    for height, width in picture_sizes(plans.manifest.image):
        prepared = processor(images=np.zeros((height, width, 3), np.uint8), return_tensors="np")["pixel_values"]
        assert any(admits(pixels, profile, prepared.shape) for profile in profiles), (height, width)


def test_the_depth_estimator_of_full_sdxl_reserves_no_square_of_the_longer_sides(plans: PlanRepository) -> None:
    """Depth Anything's own processor: shorter side 518, a multiple of 14."""
    processor = DPTImageProcessorPil(
        size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14, do_resize=True
    )
    facts = dataclasses.replace(plans.facts, depth_input=DepthInput(14, None))
    engine = engine_table(facts)["depth_estimator"]
    upright, wide = ProfileMaker(facts, ImageFacts(1024, 1280), processor).profiles(engine, (1, 1, 1))
    # One side becomes 518, the one that changes less: 1280x384 is 1722x518, 1280x960 686x518, 1280x256 518x98.
    longer, shorter = (518 // 14, 686 // 14, 1722 // 14), (98 // 14, 37, 518 // 14)
    assert upright == {"rows": (1, 1, 1), "depth_height": longer, "depth_width": shorter}
    assert wide == {"rows": (1, 1, 1), "depth_height": shorter, "depth_width": longer}


def test_the_optimum_moves_the_usual_size_alone(miniature_repository: Path, tmp_path: Path) -> None:
    plans = make_plans(miniature_repository, tmp_path, optimum=Size(128, 192), batch=(1, 2, 4))
    (ranges,) = plans.profiles("unet")
    assert ranges["height"] == (1, 2, 3)
    assert ranges["width"] == (1, 3, 3)
    assert ranges["rows"] == (1, 2, 4)
    assert not is_of_fixed_size(plans.table["unet"], ranges)


def test_a_size_that_is_never_made_is_refused(miniature_repository: Path, tmp_path: Path) -> None:
    plans = make_plans(miniature_repository, tmp_path, optimum=Size(128, 1024))
    with pytest.raises(ExportError, match=r"--optimum: 128x1024 is no size of this repository.s pictures.*128 to 192"):
        plans.profiles("unet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1024", "not enough values"),
        ("1000x1024", "1000x1024: height and width have to be positive multiples of 64"),
        ("0x64", "positive multiples of 64"),
        ("axb", "invalid literal"),
        ("64x64x64", "too many values"),
    ],
)
def test_a_size_is_two_multiples_of_64(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Size.parse(text)
