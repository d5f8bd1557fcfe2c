"""``python -m miniature``: what would go wrong after hours is said at once, and nothing is lost."""

import sys

import pytest

from miniature import __main__ as command
from miniature import few_steps, small_faces


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["miniature", *map(str, arguments)])
    return command.main()


def refused(monkeypatch, capsys, *arguments):
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, *arguments)
    return capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "-1", "1.5", "much"])
def test_a_share_is_above_0_and_at_most_1(share, tmp_path, monkeypatch, capsys):
    assert "--share" in refused(monkeypatch, capsys, tmp_path / "made", f"--share={share}", "--work", tmp_path / "work")


@pytest.mark.parametrize("seed", ["-1", str(0xC0FFEE), "much"])
def test_a_seed_is_not_negative_and_not_the_one_held_back(seed, tmp_path, monkeypatch, capsys):
    assert "--seed" in refused(monkeypatch, capsys, tmp_path / "made", f"--seed={seed}", "--work", tmp_path / "work")


def test_a_folder_that_exists_is_kept(tmp_path, monkeypatch, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    assert "exists already" in refused(monkeypatch, capsys, tmp_path, "--work", tmp_path / "work")
    assert (tmp_path / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(("device", "said"), [("banana", "banana"), ("cuda:99", "CUDA")])
def test_a_device_that_is_not_there_is_refused(device, said, tmp_path, monkeypatch, capsys):
    asked = (tmp_path / "made", f"--device={device}", "--work", tmp_path / "work")
    assert said in refused(monkeypatch, capsys, *asked)


def test_work_of_another_share_is_not_taken_for_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "_train", lambda options: options.folder.mkdir())
    assert call(monkeypatch, tmp_path / "tried", "--share=0.01", "--work", tmp_path / "work") == 0
    said = refused(monkeypatch, capsys, tmp_path / "whole", "--work", tmp_path / "work")
    assert "'share': 0.01" in said
    assert "--work" in said


def test_a_folder_of_something_else_is_not_worked_in(tmp_path, monkeypatch, capsys):
    (tmp_path / "vae.safetensors").touch()
    assert "not empty" in refused(monkeypatch, capsys, tmp_path / "made", "--work", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vae.safetensors"]


def test_an_interruption_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_train", interrupt)
    assert call(monkeypatch, tmp_path / "made", "--work", tmp_path / "work") == 130
    assert "goes on" in capsys.readouterr().out


@pytest.mark.parametrize("asked", [few_steps, small_faces])
def test_further_training_is_checked_as_the_whole_is(asked, tmp_path, monkeypatch, capsys):
    def refusal(*arguments):
        folder = [tmp_path / "made"] if asked is small_faces else []
        monkeypatch.setattr(sys, "argv", ["further", *map(str, [tmp_path / "from", *folder, *arguments])])
        with pytest.raises(SystemExit, match="2"):
            asked.main()
        return capsys.readouterr().err

    work = tmp_path / "work"
    assert "--seed" in refusal("--seed", 0xC0FFEE, "--work", work)
    assert "banana" in refusal("--device=banana", "--work", work)
    work.mkdir()
    (work / "run.json").write_text('{"steps": 1}')
    assert "'steps': 1" in refusal("--work", work)


def test_further_training_keeps_a_folder_that_exists(tmp_path, monkeypatch, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    monkeypatch.setattr(sys, "argv", ["further", "from", str(tmp_path), "--work", str(tmp_path / "work")])
    with pytest.raises(SystemExit, match="2"):
        small_faces.main()
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "dear"
