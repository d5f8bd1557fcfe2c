"""Fetching from a stand-in of the hub over real HTTP, through the real huggingface_hub."""

import errno
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from rich.console import Console

import export.commands.fetch as command
from export.__main__ import main
from export.checkpoint import Checkpoint
from export.facts import read_facts
from export.fetching import transfer
from export.fetching.archive import extract
from export.fetching.downloads import select
from export.fetching.errors import (
    AccessDenied,
    ChecksumMismatch,
    FetchError,
    ForeignFile,
    LicenceRefused,
    NoSpace,
    NotPublished,
    Unreachable,
)
from export.fetching.fetch import Fetch
from export.fetching.hub import Hub
from export.fetching.published import (
    ANTELOPE,
    DEPTH_ANYTHING,
    INSTANT_ID,
    PARTS,
    SDXL,
    VAE_FP16_FIX,
    Published,
    published,
)
from tests.unit.export.hub_stand_in import StandIn, serving

OLD, NEW = "a" * 40, "b" * 40
WEIGHTS = random.Random(0).randbytes(300_000)
SMALL = Published(
    part="depth",
    repo="somebody/depth",
    revision=OLD,
    folder="depth",
    patterns=("*",),
    needs=("config.json",),
    licence=DEPTH_ANYTHING.licence,
    size_gb=0.1,
)


@pytest.fixture
def hub() -> Iterator[StandIn]:
    files = {"config.json": b"{}", "README.md": b"words", "model.safetensors": WEIGHTS}
    newer = {"config.json": b'{"newer": 1}', "model.fp16.safetensors": WEIGHTS[:200_000]}
    with serving(StandIn({"somebody/depth": {OLD: files, NEW: newer}})) as running:
        yield running


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub writes 10 MB at a time; less than that is lost where a line breaks."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)


def fetch(hub: StandIn, folder: Path, *sources: Published, **options: object) -> Fetch:
    options = {"accepted": True} | options
    console = Console(file=io.StringIO(), width=200)
    return Fetch(folder, list(sources or (SMALL,)), Hub(hub.url), console, **options)


def printed(one: Fetch) -> str:
    return one.console.file.getvalue()


def record(folder: Path) -> dict:
    return json.loads((folder / "fetched.json").read_text())


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def weights_in(miniature: Path) -> set[str]:
    """What the published repositories have: neither the demo's pictures nor the card."""
    return {path for path in files_in(miniature) if "/" in path and not path.startswith("pictures/")}


# The whole checkpoint


def served_miniature(miniature: Path, sources: list[Published]) -> tuple[StandIn, list[Published]]:
    """Serve the miniature where the real weights are; its own hashes take the place of the pinned ones."""
    repos, bare = {}, []
    for source in sources:
        folder = miniature / source.folder
        content = {path: (folder / path).read_bytes() for path in files_in(folder)}
        if source.archive:
            archive = zipped({f"antelopev2/{path}": data for path, data in content.items()})
            pins = {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
            pins["antelopev2.zip"] = hashlib.sha256(archive).hexdigest()
            bare.append(replace(source, sha256=pins, archive_size=len(archive)))
        else:
            repos[source.repo] = {source.revision: content}
            bare.append(replace(source, sha256={}))
    return StandIn(repos, plain={"/antelopev2.zip": archive}), bare


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_the_whole_checkpoint_is_fetched_and_export_accepts_it(
    miniature_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in, sources = served_miniature(miniature_checkpoint, published(None, "small", "base", None))
    with serving(stand_in) as hub:
        archive = f"{hub.url}/antelopev2.zip"
        served = [replace(source, archive=archive) if source.archive else source for source in sources]
        monkeypatch.setattr(command, "published", lambda *_: served)
        folder = tmp_path / "checkpoint"
        assert main(["fetch", "--output", str(folder), "--endpoint", hub.url, "--yes"]) == 0

    checkpoint = Checkpoint.at(folder)
    assert read_facts(checkpoint) == read_facts(Checkpoint.at(miniature_checkpoint))
    assert files_in(folder) == weights_in(miniature_checkpoint) | {"fetched.json"}
    assert checkpoint.ip_adapter.read_bytes() == (miniature_checkpoint / "instantid/ip-adapter.bin").read_bytes()
    noted = {source["part"]: source for source in record(folder)["sources"]}
    assert set(noted) == set(PARTS)
    assert noted["base"]["revision"] == SDXL.revision
    assert "RAIL" in noted["base"]["licence"]
    weights = "antelopev2/glintr100.onnx"
    found = hashlib.sha256((folder / weights).read_bytes()).hexdigest()
    assert noted["antelopev2"]["files"][weights]["sha256"] == found


@pytest.mark.parametrize(
    ("base", "vae", "repo"),
    [
        (None, None, VAE_FP16_FIX.repo),
        (None, "base", SDXL.repo),
        (SDXL.repo, None, VAE_FP16_FIX.repo),
        ("somebody/sdxl", None, "somebody/sdxl"),
        ("somebody/sdxl", "fp16-fix", VAE_FP16_FIX.repo),
    ],
)
def test_the_vae_is_fp16_safe_unless_another_base_brings_its_own(base: str | None, vae: str | None, repo: str) -> None:
    sources = published(base, "small", vae, None)
    (found,) = [source for source in sources if source.folder == "base/vae" or "vae/config.json" in source.needs]
    assert found.repo == repo


def test_the_fp16_safe_vae_takes_the_place_of_the_stock_one(miniature_checkpoint: Path, tmp_path: Path) -> None:
    sources = [source for source in published(None, "small", None, None) if source.part == "base"]
    config = (miniature_checkpoint / "base/vae/config.json").read_bytes()
    repos = {
        sources[0].repo: {sources[0].revision: _folder(miniature_checkpoint / "base")},
        sources[1].repo: {sources[1].revision: {"config.json": config, "diffusion_pytorch_model.safetensors": WEIGHTS}},
    }
    stock = replace(published(None, "small", "base", None)[0], sha256={})
    with serving(StandIn(repos)) as hub:
        fetch(hub, tmp_path, stock).run()
        fetch(hub, tmp_path, *(replace(source, sha256={}) for source in sources)).run()
        assert (tmp_path / "base/vae/diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
        noted = [path for source in record(tmp_path)["sources"] for path in source["files"]]
        assert sorted(noted) == sorted(files_in(tmp_path) - {"fetched.json"})
        fetch(hub, tmp_path, stock).run()
    stock_vae = (miniature_checkpoint / "base/vae/diffusion_pytorch_model.safetensors").read_bytes()
    assert (tmp_path / "base/vae/diffusion_pytorch_model.safetensors").read_bytes() == stock_vae


def _folder(folder: Path) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in files_in(folder)}


# Interruptions and damage


def test_an_interrupted_file_goes_on_where_it_stopped(hub: StandIn, tmp_path: Path) -> None:
    hub.cut = {"model.safetensors": 120_000}
    with pytest.raises(Unreachable, match="goes on where it stopped"):
        fetch(hub, tmp_path).run()
    assert not (tmp_path / "depth/model.safetensors").exists()
    hub.cut = {}
    fetch(hub, tmp_path).run()
    assert (tmp_path / "depth/model.safetensors").read_bytes() == WEIGHTS
    assert hub.starts("model.safetensors") == [0, 120_000]
    assert sum(one.size for one in hub.sent if one.path == "model.safetensors") == len(WEIGHTS)
    assert files_in(tmp_path) == {"depth/config.json", "depth/model.safetensors", "fetched.json"}


def test_what_has_begun_is_kept_while_another_part_is_fetched(hub: StandIn, tmp_path: Path) -> None:
    hub.cut = {"model.safetensors": 120_000}
    with pytest.raises(Unreachable):
        fetch(hub, tmp_path).run()
    fetch(hub, tmp_path, antelope(hub, MODELS, MODELS)).run()
    hub.cut = {}
    fetch(hub, tmp_path).run()
    assert hub.starts("model.safetensors") == [0, 120_000]


@pytest.mark.slow
def test_a_killed_process_leaves_what_has_arrived_and_no_trace_in_the_cache(tmp_path: Path) -> None:
    size = 60_000_000
    files = {"config.json": b"{}", "preprocessor_config.json": b"{}", "model.safetensors": os.urandom(size)}
    folder, home = tmp_path / "checkpoint", tmp_path / "home"
    home.mkdir()
    base = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with serving(StandIn({DEPTH_ANYTHING.repo: {DEPTH_ANYTHING.revision: files}})) as hub:
        # Only the pinned hashes of the published files are taken away.
        program = (
            "import sys, dataclasses, export.commands.fetch as c; from export.__main__ import main; p = c.published;"
            "c.published = lambda *a: [dataclasses.replace(s, sha256={}) for s in p(*a)]; sys.exit(main(sys.argv[1:]))"
        )
        arguments = ["fetch", "--output", str(folder), "--only", "depth", "--yes"]
        run = [sys.executable, "-c", program, *arguments]
        environment = base | {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.url}
        hub.stalled = {"model.safetensors": size // 2}
        first = subprocess.Popen(run, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for(lambda: any(path.stat().st_size > 1_000_000 for path in folder.glob(".fetching/*.partial")))
        first.send_signal(signal.SIGKILL)
        first.wait(30)
        begun = next(folder.glob(".fetching/*.partial")).stat().st_size
        assert not (folder / "depth/model.safetensors").exists()
        hub.stalled.clear()
        second = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120)
        assert second.returncode == 0, second.stdout
    assert (folder / "depth/model.safetensors").stat().st_size == size
    assert hub.starts("model.safetensors")[-1] == begun
    assert not [path for path in files_in(home) if "hf" in path or "huggingface" in path]


def _wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_arrives_damaged_is_named_deleted_and_fetched_again(hub: StandIn, tmp_path: Path) -> None:
    hub.damaged = {"model.safetensors"}
    with pytest.raises(ChecksumMismatch, match=r"somebody/depth/model\.safetensors"):
        fetch(hub, tmp_path).run()
    assert "depth/model.safetensors" not in files_in(tmp_path)
    assert not list(tmp_path.glob(".fetching/*.partial"))
    hub.damaged = set()
    fetch(hub, tmp_path).run()
    assert (tmp_path / "depth/model.safetensors").read_bytes() == WEIGHTS


def test_a_small_file_is_held_against_gits_hash(hub: StandIn, tmp_path: Path) -> None:
    hub.damaged = {"config.json"}
    with pytest.raises(ChecksumMismatch, match=r"config\.json"):
        fetch(hub, tmp_path).run()


def test_a_file_damaged_on_disk_is_fetched_again_and_no_other(hub: StandIn, tmp_path: Path) -> None:
    fetch(hub, tmp_path).run()
    path = tmp_path / "depth/model.safetensors"
    path.write_bytes(bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:])
    hub.sent.clear()
    fetch(hub, tmp_path).run()
    assert path.read_bytes() == WEIGHTS
    assert [one.path for one in hub.sent] == ["model.safetensors"]


def test_a_second_run_asks_the_hub_nothing(hub: StandIn, tmp_path: Path) -> None:
    fetch(hub, tmp_path).run()
    noted = record(tmp_path)
    hub.asked.clear()
    again = fetch(hub, tmp_path, accepted=False)
    again.run()
    assert "up to date" in printed(again)
    assert hub.asked == []
    assert record(tmp_path) == noted


def test_without_the_record_files_are_recognised_by_their_hashes(hub: StandIn, tmp_path: Path) -> None:
    fetch(hub, tmp_path).run()
    (tmp_path / "fetched.json").unlink()
    hub.sent.clear()
    fetch(hub, tmp_path).run()
    assert hub.sent == []
    assert set(record(tmp_path)["sources"][0]["files"]) == {"depth/config.json", "depth/model.safetensors"}


# Revisions


def test_another_revision_replaces_the_files_of_the_old_one(hub: StandIn, tmp_path: Path) -> None:
    fetch(hub, tmp_path).run()
    fetch(hub, tmp_path, replace(SMALL, revision=NEW)).run()
    assert files_in(tmp_path / "depth") == {"config.json", "model.fp16.safetensors"}
    assert record(tmp_path)["sources"][0]["revision"] == NEW


def test_an_unpinned_source_is_held_to_the_revision_of_its_first_fetch(hub: StandIn, tmp_path: Path) -> None:
    newer = hub.repos["somebody/depth"].pop(NEW)
    unpinned = replace(SMALL, revision=None)
    fetch(hub, tmp_path, unpinned).run()
    hub.repos["somebody/depth"][NEW] = newer
    (tmp_path / "depth/config.json").unlink()
    fetch(hub, tmp_path, unpinned).run()
    assert record(tmp_path)["sources"][0]["revision"] == OLD
    assert (tmp_path / "depth/config.json").read_bytes() == b"{}"
    fetch(hub, tmp_path, replace(SMALL, revision="main")).run()
    assert record(tmp_path)["sources"][0]["revision"] == NEW


def test_a_mirror_with_other_weights_than_the_pinned_ones_is_refused(hub: StandIn, tmp_path: Path) -> None:
    pinned = replace(SMALL, sha256={"model.safetensors": "0" * 64})
    with pytest.raises(ChecksumMismatch, match=r"model\.safetensors has another checksum"):
        fetch(hub, tmp_path, pinned).run()
    assert hub.sent == []


def test_every_revision_is_a_commit_and_every_hash_a_sha256() -> None:
    for source in [*published(None, "small", "fp16-fix", None), *published(None, "full", "base", None)]:
        assert source is not None
        assert source.archive or (len(source.revision) == 40 and int(source.revision, 16))
        assert all(len(one) == 64 and int(one, 16) for one in source.sha256.values())
    assert "NON-COMMERCIAL" in INSTANT_ID.licence.allows
    assert "NON-COMMERCIAL" in ANTELOPE.licence.allows


def test_another_base_keeps_the_layout_but_neither_pins_nor_licence() -> None:
    other = published("somebody/sdxl@main", "small", None, None)[0]
    assert (other.repo, other.revision, other.folder, other.sha256) == ("somebody/sdxl", "main", "base", {})
    assert other.licence.url == "https://huggingface.co/somebody/sdxl"
    assert published("somebody/sdxl", "small", None, None)[0].revision is None
    assert published(f"{SDXL.repo}@{SDXL.revision}", "small", "base", None)[0] == SDXL
    assert published(f"{SDXL.repo}@main", "small", "base", None)[0].licence == SDXL.licence


# What can go wrong


def test_a_missing_revision_is_said(hub: StandIn, tmp_path: Path) -> None:
    with pytest.raises(NotPublished, match="no such revision"):
        fetch(hub, tmp_path, replace(SMALL, revision="c" * 40)).run()


def test_a_missing_archive_is_said(hub: StandIn, tmp_path: Path) -> None:
    with pytest.raises(NotPublished, match="404"):
        fetch(hub, tmp_path, replace(ANTELOPE, archive=f"{hub.url}/none.zip")).run()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", "is gated: accept its licence"),
        (403, "GatedRepo", "is gated: accept its licence"),
        (401, "RepoNotFound", "does not exist, or is private"),
        (403, "", r"is not open to you \(403\)"),
    ],
)
def test_who_may_not_read_is_told_to_set_a_token(
    hub: StandIn, tmp_path: Path, status: int, code: str, words: str
) -> None:
    hub.refusals["somebody/depth"] = (status, code)
    with pytest.raises(AccessDenied, match=f"{words}.*HF_TOKEN") as caught:
        fetch(hub, tmp_path).run()
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_not_there_is_said_in_one_line(hub: StandIn, tmp_path: Path) -> None:
    hub.url = "http://127.0.0.1:9"
    with pytest.raises(Unreachable, match="no connection") as caught:
        fetch(hub, tmp_path).run()
    assert "\n" not in str(caught.value)


def test_too_small_a_disk_is_said_before_the_first_byte(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(NoSpace, match=r"needs 0\.0 GB more, its disk has 0\.0 GB free") as caught:
        fetch(hub, tmp_path).run()
    assert str(tmp_path) in str(caught.value)
    assert hub.sent == []


def test_a_disk_that_becomes_full_is_said(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "http_get", full)
    with pytest.raises(NoSpace, match="disk is full"):
        fetch(hub, tmp_path).run()


def test_a_name_that_leads_out_of_the_folder_is_refused(hub: StandIn, tmp_path: Path) -> None:
    hub.repos["somebody/depth"][OLD]["../../evil.json"] = b"{}"
    with pytest.raises(FetchError, match="hostile"):
        fetch(hub, tmp_path / "checkpoint").run()
    assert files_in(tmp_path) == set()


def test_a_repository_in_another_layout_is_named(hub: StandIn, tmp_path: Path) -> None:
    with pytest.raises(NotPublished, match=r"somebody/depth has no .*unet/config\.json"):
        fetch(hub, tmp_path, replace(SDXL, repo="somebody/depth", revision=OLD, sha256={})).run()


def test_the_users_own_weights_are_neither_overwritten_nor_mixed_in(hub: StandIn, tmp_path: Path) -> None:
    own = tmp_path / "depth/model.safetensors"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with pytest.raises(ForeignFile, match="move it away"):
        fetch(hub, tmp_path).run()
    with pytest.raises(ForeignFile, match="export might take it"):
        fetch(hub, tmp_path, replace(SMALL, revision=NEW)).run()
    assert own.read_bytes() == b"mine"


def test_two_fetches_into_one_folder_do_not_mix(hub: StandIn, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / ".fetching").mkdir()
    with FileLock(tmp_path / ".fetching/lock"), pytest.raises(FetchError, match="another fetch"):
        fetch(hub, tmp_path).run()


def test_a_broken_record_is_named(hub: StandIn, tmp_path: Path) -> None:
    (tmp_path / "fetched.json").write_text("{")
    with pytest.raises(FetchError, match=r"fetched\.json cannot be read"):
        fetch(hub, tmp_path).run()


# Licences


def test_without_a_terminal_and_without_the_flag_nothing_is_downloaded(hub: StandIn, tmp_path: Path) -> None:
    one = fetch(hub, tmp_path, replace(SMALL, licence=INSTANT_ID.licence), accepted=False)
    with pytest.raises(LicenceRefused, match="--accept-licences"):
        one.run()
    assert "NON-COMMERCIAL RESEARCH ONLY" in printed(one)
    assert hub.sent == []
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize(("answer", "accepted"), [("y", True), ("Yes", True), ("n", False), ("", False)])
def test_the_question_is_answered_at_the_terminal(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, accepted: bool
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    one = fetch(hub, tmp_path, accepted=False)
    monkeypatch.setattr(one.console, "input", lambda _: answer)
    if accepted:
        one.run()
    else:
        with pytest.raises(LicenceRefused, match="nothing was downloaded"):
            one.run()
    assert (tmp_path / "depth/model.safetensors").exists() == accepted


def test_a_dry_run_shows_everything_and_writes_nothing(hub: StandIn, tmp_path: Path) -> None:
    absent = replace(SMALL, repo="somebody/else", part="instantid")
    hub.refusals["somebody/else"] = (503, "")
    one = fetch(hub, tmp_path / "checkpoint", SMALL, absent, accepted=False)
    one.dry_run()
    for word in ("depth/model.safetensors", OLD, "Apache-2.0", "answered 503", "about 0.10 GB"):
        assert word in printed(one)
    assert files_in(tmp_path) == set()
    assert hub.sent == []


# Archives


def antelope(hub: StandIn, files: dict[str, bytes], pinned: dict[str, bytes]) -> Published:
    archive = zipped(files)
    hub.plain["/faces.zip"] = archive
    pins = {name: hashlib.sha256(content).hexdigest() for name, content in pinned.items()}
    pins["antelopev2.zip"] = hashlib.sha256(archive).hexdigest()
    return replace(ANTELOPE, archive=f"{hub.url}/faces.zip", archive_size=len(archive), sha256=pins)


MODELS = {"scrfd_10g_bnkps.onnx": WEIGHTS[:5000], "glintr100.onnx": WEIGHTS[5000:90_000]}


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


# The choice of files

SDXL_FILES = [
    "model_index.json",
    "sd_xl_base_1.0.safetensors",
    "scheduler/scheduler_config.json",
    *(
        f"tokenizer{second}/{name}"
        for second in ("", "_2")
        for name in ("merges.txt", "vocab.json", "tokenizer_config.json")
    ),
    *(
        f"{folder}/{name}"
        for folder in ("text_encoder", "text_encoder_2")
        for name in ("config.json", "model.safetensors", "model.fp16.safetensors", "model.onnx", "openvino_model.bin")
    ),
    *(
        f"{folder}/{name}"
        for folder in ("unet", "vae", "vae_1_0", "vae_decoder")
        for name in (
            "config.json",
            "diffusion_pytorch_model.safetensors",
            "diffusion_pytorch_model.fp16.safetensors",
            "diffusion_pytorch_model.bin",
            "model.onnx_data",
            "flax_model.msgpack",
            "openvino_model.bin",
        )
    ),
]


@pytest.mark.parametrize(("full", "variant"), [(False, ".fp16"), (True, "")])
def test_one_set_of_weights_a_folder_is_chosen(full: bool, variant: str) -> None:
    chosen = select(SDXL, SDXL_FILES, full)
    assert {path for path in chosen if not path.endswith((".json", ".txt"))} == {
        f"unet/diffusion_pytorch_model{variant}.safetensors",
        f"vae/diffusion_pytorch_model{variant}.safetensors",
        f"text_encoder/model{variant}.safetensors",
        f"text_encoder_2/model{variant}.safetensors",
    }
    assert {path.split("/")[0] for path in chosen} == {
        "model_index.json", "scheduler", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "unet", "vae"
    }  # fmt: skip


def test_shards_come_with_their_index_and_pickles_only_where_nothing_else_is() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert select(SMALL, ["config.json", *shards, "pytorch_model.bin"], False) == ["config.json", *shards]
    assert select(SMALL, ["config.json", "pytorch_model.bin"], False) == ["config.json", "pytorch_model.bin"]


def test_instantids_adapter_is_taken_and_its_pictures_are_not() -> None:
    files = ["ip-adapter.bin", "ControlNetModel/config.json", "examples/0.jpg", "README.md"]
    assert set(select(INSTANT_ID, files, False)) == {"ip-adapter.bin", "ControlNetModel/config.json"}


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fetch", "--output", "x", "--only", "base,nose"])
    assert "unknown nose" in capsys.readouterr().err
