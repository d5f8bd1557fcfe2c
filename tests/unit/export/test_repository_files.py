"""A repository whose files are torn or foreign: every command ends with one sentence that names the file."""

import re
from pathlib import Path

import pytest

from export.__main__ import main
from export.plans.machine import BuildMachine
from tests.unit.export.broken_checkpoints import Break, as_directory, cut, fields, linked_copy, put, raw, removed

FACTS, MANIFEST = "facts.json", "insta_depth_stream/1/manifest.json"
ENGINE, STAMP = "identity_projector/1/model.onnx", "identity_projector/export.json"
CONFIG, PROCESSOR = "identity_projector/config.pbtxt", "insta_depth_stream/1/depth_processor/preprocessor_config.json"
BOM = b"\xef\xbb\xbf{}"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5135149760\n"


def other_engine(folder: Path) -> None:
    put(folder / ENGINE, (folder / "text_encoder/1/model.onnx").read_bytes())


BROKEN: list[tuple[Break, str]] = [
    (removed(FACTS), rf"{FACTS} is missing"),
    (raw(FACTS, BOM), rf"{FACTS} begins with a byte-order mark"),
    (raw(FACTS, LFS), rf"{FACTS} is only Git LFS's pointer"),
    (raw(FACTS, b"[]"), rf"{FACTS} holds a JSON list"),
    (raw(FACTS, b"{}"), rf"{FACTS} is of another version"),
    (fields(FACTS, "latent_channels"), rf"{FACTS} is of another version"),
    (as_directory(FACTS), rf"{FACTS} is a directory"),
    (removed(MANIFEST), rf"{MANIFEST} is missing"),
    (raw(MANIFEST, BOM), rf"{MANIFEST} begins with a byte-order mark"),
    (raw(MANIFEST, b"{}"), rf"{MANIFEST} is no manifest of this version"),
    (fields(MANIFEST, text=None), rf"{MANIFEST} is no manifest of this version"),
    (cut(MANIFEST), rf"{MANIFEST} is not JSON"),
    (removed(ENGINE), rf"{ENGINE} is missing"),
    (raw(ENGINE, b""), rf"{ENGINE} is empty"),
    (raw(ENGINE, LFS), rf"{ENGINE} is only Git LFS's pointer"),
    (raw(ENGINE, b"no protobuf at all"), rf"{ENGINE} is not a whole ONNX file"),
    (cut(ENGINE), rf"{ENGINE} is not a whole ONNX file"),
    (as_directory(ENGINE), rf"{ENGINE} is a directory"),
    (other_engine, rf"{ENGINE}: its inputs are \['input_ids'\], the table says \['face_emb'\]"),
    (removed(STAMP), rf"{STAMP} is missing"),
    (raw(STAMP, BOM), rf"{STAMP} begins with a byte-order mark"),
    (raw(STAMP, b"{}"), rf"{STAMP} names no precision"),
]
FOR_PLANS: list[tuple[Break, str]] = [
    (removed(CONFIG), rf"{CONFIG} is missing"),
    (raw(CONFIG, b"max_batch_size: many"), rf"{CONFIG} is no model configuration"),
    (removed(PROCESSOR), rf"{PROCESSOR} is missing"),
    (raw(PROCESSOR, b"{}"), rf"{PROCESSOR} is no image processor"),
]


@pytest.fixture
def folder(miniature_repository: Path, tmp_path: Path) -> Path:
    return linked_copy(miniature_repository, tmp_path / "repository")


def said_by(arguments: list[str], folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    assert main([*arguments, "--repository", str(folder), "--only", "identity_projector"]) == 1
    sentence = capfd.readouterr().err.strip()
    assert "\n" not in sentence
    assert sentence.startswith("export: ")
    assert "unexpected" not in sentence
    return sentence.replace(f"{folder}/", "")


@pytest.mark.parametrize(("broken", "expected"), BROKEN)
def test_verify_names_it(folder: Path, broken: Break, expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    broken(folder)
    sentence = said_by(["verify", "--runtime", "onnx"], folder, capfd)
    assert re.search(expected, sentence), sentence


@pytest.mark.parametrize(("broken", "expected"), [*BROKEN, *FOR_PLANS])
def test_tensorrt_names_it(
    folder: Path, broken: Break, expected: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BuildMachine, "here", lambda: BuildMachine("10.13.2.6", "NVIDIA H100 80GB HBM3", "9.0"))
    monkeypatch.setattr("export.plans.build.require_tensorrt", lambda: None)
    broken(folder)
    sentence = said_by(["tensorrt"], folder, capfd)
    assert re.search(expected, sentence), sentence
