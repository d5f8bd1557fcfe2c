"""Whole exports of mixed precision: every engine is its module, and the tensors between engines have one type."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from export.__main__ import main
from export.checkpoint import Checkpoint
from export.engines import PUBLISHED_AS_ONNX, ROW_OF
from export.in_process import RunEngine, onnx_engine
from export.manifest import Sides
from export.onnx_signature import check_signature
from export.parity import check_module
from export.plans.config import read_config
from export.precision import Precision, Precisions
from export.repository import Export
from export.verification.pictures import compare_pictures
from export.verification.sides import Side, onnx_side
from tests.unit.export.widening import widen

pytestmark = [pytest.mark.slow, pytest.mark.long]
MIXED = ["fp16,unet=bf16"]
MIN_PSNR_DB = 30


@pytest.fixture(scope="module", params=MIXED)
def mixed(
    request: pytest.FixtureRequest, miniature_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Export:
    """The miniature, exported by the command line, unchecked: ONNX Runtime has no bf16 on a CPU."""
    folder = tmp_path_factory.mktemp("whole") / "mixed"
    settings = ["--precision", request.param, "--max-side", "192", "--no-verify"]
    assert main(["onnx", "--checkpoint", str(miniature_checkpoint), "--output", str(folder), *settings]) == 0
    precisions, checkpoint = Precisions.parse(request.param), Checkpoint.at(miniature_checkpoint)
    return Export(checkpoint, folder, precisions, Sides(max_side=192), verify=False)


def onnx_path(export: Export, name: str) -> Path:
    return export.output / name / "1" / "model.onnx"


def test_every_engine_is_its_module(mixed: Export, tmp_path: Path) -> None:
    io_dtype = mixed.precisions.most.io_dtype
    for name, engine in mixed.table.items():
        check_signature(engine, onnx_path(mixed, name), io_dtype)
        if name in PUBLISHED_AS_ONNX:
            continue
        precision = Precision(mixed._precision(name))
        module = ROW_OF[name].module(mixed.checkpoint, mixed.facts, precision)
        widen(onnx_path(mixed, name), tmp_path / name / "model.onnx")
        rows = list(check_module(module, engine, tmp_path / name / "model.onnx", precision, io_dtype))
        assert rows
        assert all(row.passed for row in rows), rows


def types_of(export: Export, name: str) -> dict[str, int]:
    """Return the element types of an engine's inputs and outputs by name."""
    graph = onnx.load(onnx_path(export, name), load_external_data=False).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}


def onnx_type(data_type: int) -> int:
    """Return what ONNX calls a ``data_type`` of Triton's."""
    name = model_config_pb2.DataType.Name(data_type).removeprefix("TYPE_")
    return helper.np_dtype_to_tensor_dtype(np.dtype(triton_to_np_dtype(name)))


def test_the_tensors_of_a_step_have_one_type(mixed: Export) -> None:
    config = read_config(mixed.output / "denoise_step" / "config.pbtxt")
    types: dict[str, set[int]] = defaultdict(set)
    for tensor in (*config.input, *config.output):
        types[tensor.name].add(onnx_type(tensor.data_type))
    for step in config.ensemble_scheduling.step:
        found = types_of(mixed, step.model_name)
        for inner, outer in (*step.input_map.items(), *step.output_map.items()):
            types[outer].add(found[inner])
    assert all(len(found) == 1 for found in types.values()), dict(types)


def test_the_warm_up_has_each_engine_s_types(mixed: Export) -> None:
    for name, engine in mixed.table.items():
        (warmup,) = read_config(mixed.output / name / "config.pbtxt").model_warmup
        found = types_of(mixed, name)
        assert warmup.inputs.keys() == {tensor.name for tensor in engine.inputs}
        assert all(onnx_type(value.data_type) == found[key] for key, value in warmup.inputs.items())


def widened_engine(folder: Path) -> RunEngine:
    widen(folder / "model.onnx", folder.parent / "widened" / "model.onnx")
    return onnx_engine(folder.parent / "widened")


def test_its_picture_is_the_fp32_one_s(mixed: Export, miniature_repository: Path, face: bytes, pose: bytes) -> None:
    request = {"prompt": "a woman", "face_image": face, "pose_image": pose, "num_inference_steps": 4, "seed": 1}
    tested = Side("bf16 computed in fp32", mixed.output, widened_engine)
    (row,) = compare_pictures({"a picture": request}, onnx_side(miniature_repository), tested)
    assert MIN_PSNR_DB <= row.psnr_db < float("inf")
