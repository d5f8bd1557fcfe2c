"""``python -m export verify``: equal engines pass, a changed one does not, and faces are compared."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from export.__main__ import main
from export.engines import engine_table
from export.facts import load_facts
from export.plans import tensorrt_module
from export.precision import Precision
from export.repository import FACTS
from export.verification.engines import EngineCase, compare_engine
from export.verification.pictures import PictureRow, compare_pictures, face_cosine
from export.verification.sides import Side, onnx_side, with_vae_of


@pytest.fixture
def changed(miniature_repository: Path, tmp_path: Path) -> Path:
    """The miniature with one weight of its UNet changed."""
    repository = tmp_path / "changed"
    shutil.copytree(miniature_repository, repository)
    path = repository / "unet" / "1" / "model.onnx"
    model = onnx.load(path)
    name = "unet.conv_out.weight"
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.5), name))
    onnx.save(model, path)
    return repository


def unet(repository: Path, precision: Precision = Precision.FP32) -> EngineCase:
    return EngineCase(engine_table(load_facts(repository / FACTS))["unet"], precision)


def test_an_engine_is_its_own_equal(miniature_repository: Path) -> None:
    side = onnx_side(miniature_repository)
    rows = list(compare_engine(unet(miniature_repository), side, side))
    assert [row.error for row in rows] == [0, 0, 0]


def test_a_changed_engine_is_over_its_tolerance(miniature_repository: Path, changed: Path) -> None:
    rows = list(compare_engine(unet(changed), onnx_side(miniature_repository), onnx_side(changed)))
    assert not any(row.passed for row in rows)


def test_shapes_that_the_plan_admits_are_compared_and_its_extremes(miniature_repository: Path) -> None:
    profile = {"rows": (1, 2, 4), "height": (2, 2, 3), "width": (2, 3, 3), "tokens": (77, 77, 154)}
    case = EngineCase(unet(miniature_repository).engine, Precision.FP32, (profile,))
    from_the_table = [
        {"rows": 2, "height": 2, "width": 3, "tokens": 77},
        {"rows": 1, "height": 3, "width": 2, "tokens": 154},
        {"rows": 3, "height": 2, "width": 2, "tokens": 77},
    ]
    largest_picture = {"rows": 1, "height": 3, "width": 3, "tokens": 154}
    largest_batch = {"rows": 4, "height": 2, "width": 2, "tokens": 77}
    assert case.sizes() == [*from_the_table, largest_picture, largest_batch]
    one = {"rows": (1, 2, 2), "height": (1, 1, 1), "width": (3, 3, 3), "tokens": (77, 77, 77)}
    sizes = EngineCase(case.engine, Precision.FP32, (one,)).sizes()
    assert sizes == [{"rows": rows, "height": 1, "width": 3, "tokens": 77} for rows in (2, 1)]


def test_a_changed_engine_changes_whole_pictures(
    miniature_repository: Path, changed: Path, face: bytes, pose: bytes
) -> None:
    request = {"prompt": "a woman", "face_image": face, "pose_image": pose, "num_inference_steps": 4, "seed": 1}
    reference = onnx_side(miniature_repository)
    (same,) = compare_pictures({"same": request}, reference, reference)
    assert same.passed
    assert same.psnr_db == float("inf")
    (other,) = compare_pictures({"other": request}, reference, onnx_side(changed))
    assert not other.passed


def test_a_vae_is_compared_with_the_stock_one(
    miniature_repository: Path, miniature_checkpoint: Path, tmp_path: Path, face: bytes, pose: bytes
) -> None:
    request = {"prompt": "a woman", "face_image": face, "pose_image": pose, "num_inference_steps": 4, "seed": 1}
    tested, stock = onnx_side(miniature_repository), miniature_checkpoint / "base" / "vae"
    (same,) = compare_pictures({"same": request}, with_vae_of(tested, stock), tested)
    assert 50 < same.psnr_db < float("inf")
    other = shutil.copytree(stock, tmp_path / "vae")
    weights = load_file(other / "diffusion_pytorch_model.safetensors")
    weights["decoder.conv_out.bias"] += 0.3
    save_file(weights, other / "diffusion_pytorch_model.safetensors")
    (changed,) = compare_pictures({"changed": request}, with_vae_of(tested, other), tested)
    assert not changed.passed


def test_the_stock_vae_needs_pictures(miniature_repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", "--runtime", "onnx", "--repository", str(miniature_repository), "--stock-vae", "vae"]
    assert main(asked) == 1
    assert "--stock-vae compares a picture: it needs --face and --pose" in capsys.readouterr().err


def test_faces_are_compared_by_direction() -> None:
    a = np.array([3.0, 4.0], np.float32)
    assert face_cosine(a, 2 * a) == pytest.approx(1)
    assert face_cosine(a, np.array([-4.0, 3.0])) == pytest.approx(0)
    assert face_cosine(None, a) is None
    assert face_cosine(a, None) == 0, "a face that got lost is a fault"


def test_nan_passes_nowhere() -> None:
    assert not PictureRow("x", float("nan"), None).passed
    assert not PictureRow("x", 50.0, float("nan")).passed


def test_the_command_tells_by_its_status(
    miniature_repository: Path, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    against = ["verify", "--runtime", "onnx", "--only", "unet", "--against", str(miniature_repository)]
    assert main([*against, "--repository", str(miniature_repository)]) == 0
    assert "over" not in capsys.readouterr().out
    assert main([*against, "--repository", str(changed)]) == 1
    assert "over" in capsys.readouterr().out


@pytest.mark.skipif(not tensorrt_module.is_missing(), reason="TensorRT and a GPU are here")
def test_without_tensorrt_it_stops_with_one_sentence(
    miniature_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--repository", str(miniature_repository)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("export: TensorRT is not installed here") or said.startswith("export: no CUDA GPU")


def test_sides_name_what_is_missing(tmp_path: Path, miniature_repository: Path) -> None:
    from export.errors import ExportError

    with pytest.raises(ExportError, match="has no ONNX engines"):
        onnx_side(tmp_path)
    assert isinstance(onnx_side(miniature_repository), Side)
