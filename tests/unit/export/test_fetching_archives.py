"""Models that are published in an archive."""

from pathlib import Path

import pytest

from export.fetching.archive import extract
from export.fetching.errors import (
    ChecksumMismatch,
    FetchError,
    Unreachable,
)
from tests.unit.export.fetching import MODELS, SMALL, antelope, fetch, files_in, zipped
from tests.unit.export.hub_stand_in import StandIn


@pytest.mark.parametrize("folder", ["", "antelopev2/", "antelopev2/antelopev2/"])
def test_models_come_out_of_the_archive_whatever_folder_they_lie_in(hub: StandIn, tmp_path: Path, folder: str) -> None:
    files = {f"{folder}{name}": content for name, content in MODELS.items()} | {f"{folder}genderage.onnx": b"unused"}
    fetch(hub, tmp_path, antelope(hub, files, MODELS)).run()
    assert files_in(tmp_path) == {"fetched.json", *(f"antelopev2/{name}" for name in MODELS)}
    assert (tmp_path / "antelopev2/glintr100.onnx").read_bytes() == MODELS["glintr100.onnx"]


def test_an_interrupted_archive_goes_on_where_it_stopped(hub: StandIn, tmp_path: Path) -> None:
    source = antelope(hub, MODELS, MODELS)
    hub.cut = {"/faces.zip": 40_000}
    with pytest.raises(Unreachable):
        fetch(hub, tmp_path, source).run()
    hub.cut = {}
    fetch(hub, tmp_path, source).run()
    assert hub.starts("/faces.zip") == [0, 40_000]


def test_no_token_goes_to_the_archives_host(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(hub, tmp_path, antelope(hub, MODELS, MODELS), SMALL).run()
    tokens = {one.path: one.authorization for one in hub.sent}
    assert tokens["/faces.zip"] is None
    assert tokens["config.json"] == "Bearer hf_secret"


def test_a_hostile_archive_writes_nothing_elsewhere(hub: StandIn, tmp_path: Path) -> None:
    files = {f"../../../{name}": content for name, content in MODELS.items()} | {"/tmp/evil": b"evil"}
    folder = tmp_path / "a" / "b" / "checkpoint"
    fetch(hub, folder, antelope(hub, files, MODELS)).run()
    assert files_in(tmp_path) == {f"a/b/checkpoint/{name}" for name in files_in(folder)}
    assert files_in(folder) == {"fetched.json", *(f"antelopev2/{name}" for name in MODELS)}


def test_an_archive_with_two_models_of_a_name_or_none_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "faces.zip"
    archive.write_bytes(zipped({"a/model.onnx": b"1", "b/model.onnx": b"2"}))
    for name, count in (("model.onnx", 2), ("other.onnx", 0)):
        with pytest.raises(FetchError, match=f"holds {count} files called"):
            extract(archive, name, tmp_path / "out")


def test_a_model_that_is_not_the_published_one_is_refused(hub: StandIn, tmp_path: Path) -> None:
    other = MODELS | {"glintr100.onnx": b"other"}
    with pytest.raises(ChecksumMismatch, match=r"glintr100\.onnx"):
        fetch(hub, tmp_path, antelope(hub, other, MODELS)).run()
    assert not (tmp_path / "antelopev2/glintr100.onnx").exists()


def test_what_is_no_zip_is_said(tmp_path: Path) -> None:
    (tmp_path / "faces.zip").write_bytes(b"<html>")
    with pytest.raises(FetchError, match="cannot be unpacked"):
        extract(tmp_path / "faces.zip", "model.onnx", tmp_path / "out")
