"""NVIDIA's own parser and builder take every engine: TensorRT-RTX, which builds without a GPU."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from onnx import helper

pytestmark = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu12")


def rehearse(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "export", "tensorrt", "--repository", str(repository), "--rehearse", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.long
def test_every_engine_is_taken_with_its_profiles(miniature_repository: Path) -> None:
    ended = rehearse(miniature_repository, "--optimum", "128x192", "--batch", "1,2,4")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("taken: ") == 11
    assert re.search(r"GPU memory: weights 0\.\d \+ activations .* GiB\nfits GPUs of 24, 40, 48, 80 GB", ended.stdout)
    assert not list(miniature_repository.rglob("*.plan")), "a rehearsal keeps nothing"


def test_an_engine_that_tensorrt_cannot_take_is_named(miniature_repository: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for part in ("identity_projector", "insta_depth_stream"):
        (repository / part).parent.mkdir(exist_ok=True)
        (repository / part).symlink_to(miniature_repository / part)
    (repository / "facts.json").symlink_to(miniature_repository / "facts.json")
    broken = repository / "text_encoder"
    (broken / "1").mkdir(parents=True)
    for name in ("config.pbtxt", "export.json"):
        (broken / name).symlink_to(miniature_repository / "text_encoder" / name)
    model = onnx.load(miniature_repository / "text_encoder" / "1" / "model.onnx")
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [f"{name}_before" if name == output else name for name in node.output]
    model.graph.node.append(helper.make_node("Det", [f"{output}_before"], [output]))
    onnx.save(model, broken / "1" / "model.onnx")
    ended = rehearse(repository, "--only", "text_encoder")
    assert ended.returncode == 1
    assert "export: text_encoder: TensorRT refused it" in ended.stderr
