"""Fetching from a stand-in of the hub over real HTTP, through the real huggingface_hub."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import export.commands.fetch as command
from export.__main__ import main
from export.checkpoint import Checkpoint
from export.facts import read_facts
from export.fetching.errors import (
    ChecksumMismatch,
    Unreachable,
)
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
from tests.unit.export.fetching import (
    MODELS,
    NEW,
    OLD,
    SMALL,
    WEIGHTS,
    antelope,
    fetch,
    files_in,
    printed,
    record,
    weights_in,
    zipped,
)
from tests.unit.export.hub_stand_in import StandIn, serving


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
