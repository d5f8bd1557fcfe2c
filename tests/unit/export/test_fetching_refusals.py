"""What cannot be fetched, or may not, is said in one line, and nothing is lost."""

import errno
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from export.fetching import transfer
from export.fetching.errors import (
    AccessDenied,
    FetchError,
    ForeignFile,
    LicenceRefused,
    NoSpace,
    NotPublished,
    Unreachable,
)
from export.fetching.published import (
    ANTELOPE,
    INSTANT_ID,
    SDXL,
)
from tests.unit.export.fetching import NEW, OLD, SMALL, fetch, files_in, printed
from tests.unit.export.hub_stand_in import StandIn


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
