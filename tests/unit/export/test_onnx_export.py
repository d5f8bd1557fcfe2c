from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.checkpoint import Checkpoint
from export.engines import ROW_OF, Engine, engine_table
from export.errors import ParityError
from export.facts import read_facts
from export.onnx_export import _CastAtSignature, export_onnx
from export.parity import TOLERANCE, check_module, open_session
from export.precision import Precision, Precisions
from export.repository import Export
from export.tensors import ROWS, Tensor

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


def _ignore(name, state):
    pass


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return Checkpoint.at(tiny_checkpoint)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_a_network_is_exported_in_the_precision_asked_for(checkpoint, tmp_path, precision):
    facts = read_facts(checkpoint)
    engine = engine_table(facts)["identity_projector"]
    module = ROW_OF[engine.name].module(checkpoint, facts, precision)
    export_onnx(module, engine, tmp_path / "model.onnx", precision)
    graph = onnx.load(tmp_path / "model.onnx").graph
    expected = {Precision.FP16: onnx.TensorProto.FLOAT16, Precision.BF16: onnx.TensorProto.BFLOAT16}[precision]
    assert expected in {tensor.data_type for tensor in graph.initializer}
    expected_io = onnx.TensorProto.FLOAT16 if precision is Precision.FP16 else onnx.TensorProto.FLOAT
    assert graph.input[0].type.tensor_type.elem_type == expected_io


def test_no_file_names_the_folders_of_the_machine_that_exported_it(checkpoint, tmp_path):
    facts = read_facts(checkpoint)
    engine = engine_table(facts)["identity_projector"]
    module = ROW_OF[engine.name].module(checkpoint, facts, Precision.FP32)
    export_onnx(module, engine, tmp_path / "model.onnx", Precision.FP32)
    exported, shipped = [tmp_path / "model.onnx"], list((ROOT / "miniature" / "weights").rglob("*.onnx"))
    assert len(shipped) == 2
    for file in exported + shipped:
        assert b".py" not in file.read_bytes()


def test_a_timestep_is_not_rounded_to_bf16():
    tensors = (Tensor("sample", (ROWS, 4)), Tensor("timestep", (ROWS, 1), "float32"))
    step = Engine("step", tensors, tensors)
    cast = _CastAtSignature(lambda *inputs: inputs, step, torch.bfloat16, torch.float32)
    _, timestep = cast(torch.zeros(1, 4), torch.tensor([[981.0]]))
    assert timestep.item() == 981


def test_a_network_that_cannot_run_here_is_not_passed_as_checked(checkpoint, tmp_path):
    facts = read_facts(checkpoint)
    engine = engine_table(facts)["identity_projector"]
    module = ROW_OF[engine.name].module(checkpoint, facts, Precision.BF16)
    export_onnx(module, engine, tmp_path / "model.onnx", Precision.BF16)
    with pytest.raises(ParityError, match="cannot run it in bf16"):
        list(check_module(module, engine, tmp_path / "model.onnx", Precision.BF16))


def test_the_tables_names_and_axes_are_the_files(checkpoint, tmp_path):
    rows = list(Export(checkpoint, tmp_path / "repository", only=frozenset({"vae_decoder"})).run(_ignore))
    assert all(row.passed for row in rows)
    session = open_session(tmp_path / "repository" / "vae_decoder" / "1" / "model.onnx")
    assert [tensor.name for tensor in session.get_inputs()] == ["latents"]
    image = session.run(["image"], {"latents": np.zeros((3, 4, 16, 24), np.float32)})[0]
    assert image.shape == (3, 128, 192, 3)


def test_an_engine_that_differs_fails_the_export(checkpoint, tmp_path):
    facts = read_facts(checkpoint)
    engine = engine_table(facts)["identity_projector"]
    module = ROW_OF[engine.name].module(checkpoint, facts, Precision.FP32)
    export_onnx(module, engine, tmp_path / "model.onnx", Precision.FP32)
    with torch.no_grad():
        module.norm_out.bias += 0.1
    assert not any(row.passed for row in check_module(module, engine, tmp_path / "model.onnx", Precision.FP32))


def test_a_failed_export_leaves_the_old_engine(checkpoint, tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    only = frozenset({"identity_projector"})
    list(Export(checkpoint, repository, only=only).run(_ignore))
    before = (repository / "identity_projector" / "1" / "model.onnx").read_bytes()
    monkeypatch.setitem(TOLERANCE, Precision.FP16, -1.0)
    with pytest.raises(ParityError, match="identity_projector at 2×512 differs"):
        list(Export(checkpoint, repository, Precisions.parse("fp16,identity_projector=fp16"), only=only).run(_ignore))
    assert (repository / "identity_projector" / "1" / "model.onnx").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_a_second_run_reuses_the_first(checkpoint, tmp_path):
    only, said = frozenset({"face_recognizer"}), []
    list(Export(checkpoint, tmp_path / "repository", only=only).run(_ignore))
    list(Export(checkpoint, tmp_path / "repository", only=only).run(lambda name, state: said.append((name, state))))
    assert said == [("face_recognizer", "up to date")]
