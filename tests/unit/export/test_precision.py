"""An engine of another precision than its repository casts inside its file: tensors between engines are of one type."""

import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from export.checkpoint import Checkpoint
from export.engines import ROW_OF, engine_table, sample_inputs
from export.errors import ExportError
from export.facts import read_facts
from export.manifest import Sides
from export.onnx_export import export_onnx
from export.parity import check_module, open_session
from export.precision import Precision, Precisions
from export.repository import Export, check_precisions
from export.verification.pictures import compare_pictures
from export.verification.sides import onnx_side

TYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
}
MIXED = [("fp16", "fp32"), ("fp32", "fp16"), ("fp16", "bf16"), ("bf16", "fp16"), ("bf16", "fp32")]


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return Checkpoint.at(tiny_checkpoint)


@pytest.fixture(scope="module")
def facts(checkpoint):
    return read_facts(checkpoint)


@pytest.mark.parametrize(("most", "own"), MIXED)
def test_the_file_takes_and_gives_the_repository_s_type(checkpoint, facts, tmp_path, most, own):
    name = "identity_projector"
    io_dtype, precision = Precision(most).io_dtype, Precision(own)
    engine = engine_table(facts)[name]
    export_onnx(ROW_OF[name].module(checkpoint, facts, precision), engine, tmp_path / "model.onnx", precision, io_dtype)
    graph = onnx.load(tmp_path / "model.onnx").graph
    for values, tensors in ((graph.input, engine.inputs), (graph.output, engine.outputs)):
        found = [value.type.tensor_type.elem_type for value in values]
        assert found == [TYPES[tensor.dtype or io_dtype.name] for tensor in tensors]
    weights = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[own]
    floats = {w.data_type for w in graph.initializer if len(w.dims) > 1} - {TensorProto.INT64, TensorProto.BOOL}
    assert floats == {weights}


@pytest.mark.parametrize(("name", "most", "own", "tolerance"), [
    ("depth_estimator", "fp16", "fp32", 1e-3),
    ("text_encoder_2", "fp16", "fp32", 1e-3),
    ("identitynet", "fp16", "fp32", 1e-3),
    ("depth_estimator", "fp32", "fp16", 2e-2),
    ("vae_decoder", "fp32", "fp16", 2e-2),
    ("vae_encoder", "fp32", "fp16", 2e-2),
])  # fmt: skip
def test_its_values_are_the_fp32_module_s(checkpoint, facts, tmp_path, name, most, own, tolerance):
    io_dtype, precision = Precision(most).io_dtype, Precision(own)
    engine = engine_table(facts)[name]
    module = ROW_OF[name].module(checkpoint, facts, precision)
    export_onnx(module, engine, tmp_path / "model.onnx", precision, io_dtype)
    rows = list(check_module(module, engine, tmp_path / "model.onnx", precision, io_dtype))
    assert len(rows) == 3
    assert all(row.error < tolerance for row in rows)
    session = open_session(tmp_path / "model.onnx")
    outputs = session.run(None, sample_inputs(engine, engine.sizes[0], io_dtype))
    assert {output.dtype for output in outputs} == {np.dtype(engine.outputs[0].dtype or io_dtype)}


def test_an_engine_is_made_anew_where_the_repository_s_type_changes(checkpoint, tmp_path):
    def stamps(text):
        export = Export(checkpoint, tmp_path / "repository", Precisions.parse(text))
        return {name: export._fingerprint(name)["fingerprint"] for name in ("depth_estimator", "unet")}

    plain, mixed = stamps("fp32"), stamps("fp16,depth_estimator=fp32")
    assert not plain.items() & mixed.items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fp8", "fp8: fp8 is none of fp32, fp16, bf16"),
        ("fp16,unet=int8", "fp16,unet=int8: int8 is none of fp32, fp16, bf16"),
        ("unet=fp16", "one precision for most engines is needed"),
        ("fp16,fp32", "one precision for most engines is needed"),
    ],
)
def test_what_is_no_precision_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Precisions.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fp16,depth=fp32", "unknown engine depth;"),
        ("fp16,face_detector=fp32", "face_detector is published as ONNX"),
    ],
)
def test_what_no_engine_can_have_is_refused(facts, text, message):
    with pytest.raises(ExportError, match=message):
        check_precisions(Precisions.parse(text), engine_table(facts))


@pytest.mark.parametrize(
    "text", ["fp16,depth_estimator=fp32", "fp32,unet=fp16", "bf16,text_encoder=fp16", "fp16,unet=bf16"]
)
def test_any_engine_can_have_any_precision(facts, text):
    check_precisions(Precisions.parse(text), engine_table(facts))


@pytest.mark.parametrize(("text", "expected"), [
    ("fp16", "fp32 fp32 fp32 fp32 fp16 fp16"),
    ("fp16,unet=fp32,text_encoder_2=fp16", "fp32 fp32 fp16 fp32 fp32 fp16"),
    ("fp16,identity_projector=fp16", "fp16 fp32 fp32 fp32 fp16 fp16"),
    ("bf16", "bf16 bf16 bf16 bf16 bf16 bf16"),
])  # fmt: skip
def test_what_runs_once_a_request_computes_in_fp32_unless_it_is_named(checkpoint, tmp_path, text, expected):
    names = ("identity_projector", "text_encoder", "text_encoder_2", "depth_estimator", "unet", "identitynet")
    export = Export(checkpoint, tmp_path / "repository", Precisions.parse(text))
    assert " ".join(export._precision(name).value for name in names) == expected


def test_a_mixed_repository_makes_the_fp32_one_s_picture(
    miniature_checkpoint, miniature_repository, tmp_path, face, pose
):
    mixed = tmp_path / "mixed"
    shutil.copytree(miniature_repository, mixed, ignore=shutil.ignore_patterns("depth_estimator", "identity_projector"))
    own = frozenset({"depth_estimator", "identity_projector"})
    precisions = Precisions.parse("fp32,depth_estimator=fp16,identity_projector=fp16")
    export = Export(Checkpoint.at(miniature_checkpoint), mixed, precisions, Sides(max_side=192), own)
    rows = list(export.run(lambda name, state: None))
    assert {row.engine for row in rows if row.passed} == own
    request = {"prompt": "a woman", "face_image": face, "pose_image": pose, "num_inference_steps": 4, "seed": 1}
    (row,) = compare_pictures({"mixed": request}, onnx_side(miniature_repository), onnx_side(mixed))
    assert 50 <= row.psnr_db < float("inf")
    with pytest.raises(ExportError, match="exchange float32, with --only the new ones would exchange float16"):
        Export(Checkpoint.at(miniature_checkpoint), mixed, Precisions(Precision.FP16), only=own)
