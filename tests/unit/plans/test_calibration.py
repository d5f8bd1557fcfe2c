"""fp8 engines are calibrated on what they see when pictures are made of faces, poses and prompts."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from export.plans.calibration import STEPS, CalibrationError, read_cases, record_inputs
from export.plans.quantization import ModelOptMissing, quantize_fp8


@pytest.fixture
def folder(miniature_checkpoint: Path, tmp_path: Path) -> Path:
    for part, name in (("faces", "face.png"), ("poses", "pose.png")):
        (tmp_path / part).mkdir()
        shutil.copy(miniature_checkpoint / "pictures" / name, tmp_path / part)
    (tmp_path / "prompts.txt").write_text("a red coat\n\na blue coat\n")
    return tmp_path


def test_faces_poses_and_prompts_take_turns(folder: Path) -> None:
    cases = read_cases(folder, 3)
    assert [case.prompt for case in cases] == ["a red coat", "a blue coat", "a red coat"]
    assert {case.face.name for case in cases} == {"face.png"}


@pytest.mark.parametrize(
    ("missing", "message"),
    [("faces", "faces holds no picture"), ("poses", "poses holds no picture"), ("prompts.txt", "holds no prompt")],
)
def test_what_is_missing_is_named(folder: Path, missing: str, message: str) -> None:
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.write_text("\n")
    with pytest.raises(CalibrationError, match=message):
        read_cases(folder, 2)


def test_every_row_of_every_step_is_recorded(folder: Path, miniature_repository: Path) -> None:
    recorded = record_inputs(miniature_repository, read_cases(folder, 2), ["unet", "identitynet"])
    assert recorded.keys() == {"unet", "identitynet"}
    unet = recorded["unet"]
    assert {len(rows) for rows in unet.values()} == {2 * STEPS * 2}, "two pictures, two rows a step"
    assert len(np.unique(unet["timestep"])) == STEPS
    prompts = {row.tobytes() for row in unet["encoder_hidden_states"]}
    assert len(prompts) == 3, "two prompts and the silence of the negative rows"


@pytest.mark.skipif(find_spec("modelopt") is not None, reason="nvidia-modelopt is here")
def test_without_modelopt_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelOptMissing, match=r"pip install 'nvidia-modelopt\[onnx\]'"):
        quantize_fp8(tmp_path / "model.onnx", {}, tmp_path / "fp8.onnx")


@pytest.mark.skipif(find_spec("modelopt") is None, reason="needs nvidia-modelopt")
def test_modelopt_writes_fp8_and_keeps_the_border(
    folder: Path, miniature_checkpoint: Path, miniature_repository: Path, tmp_path: Path
) -> None:
    import onnx

    from export.checkpoint import Checkpoint
    from export.onnx_signature import check_signature
    from export.precision import Precision, Precisions
    from export.repository import Export

    only = frozenset({"identitynet"})
    export = Export(
        Checkpoint.at(miniature_checkpoint), tmp_path / "fp16", Precisions(Precision.FP16), only=only, verify=False
    )
    list(export.run(lambda name, state: None))
    recorded = record_inputs(miniature_repository, read_cases(folder, 1), ["identitynet"])["identitynet"]
    inputs = {name: rows if name == "timestep" else rows.astype(np.float16) for name, rows in recorded.items()}
    output = tmp_path / "fp8" / "model.onnx"
    quantize_fp8(tmp_path / "fp16" / "identitynet" / "1" / "model.onnx", inputs, output)
    check_signature(export.table["identitynet"], output, np.dtype(np.float16))
    types = {tensor.data_type for tensor in onnx.load(output).graph.initializer}
    assert onnx.TensorProto.FLOAT8E4M3FN in types
