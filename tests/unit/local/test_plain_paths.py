import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploy.local import interpreter, log, plain_paths
from deploy.local.errors import PathRefused
from deploy.local.plain_paths import PlainPaths, is_plain

STRANGE = ["a b", "é", "it's", 'say "x"', "#1", "$HOME", "a;b", "a:b", "new\nline", "(x)", "x" * 250]


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_path_is_offered_under_a_plain_one(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "file").write_text("content", encoding="utf-8")
    paths = PlainPaths()
    offered = paths.of(folder, "folder")
    assert is_plain(offered)
    # As Triton starts a stub: by the shell, without quotes.
    assert subprocess.check_output(["bash", "-c", f"cat {offered}/file"], text=True, encoding="utf-8") == "content"
    paths.remove()
    assert not offered.is_symlink()
    assert (folder / "file").is_file()


def test_a_plain_path_stays_as_it_is(tmp_path: Path) -> None:
    paths = PlainPaths()
    assert paths.of(Path("/srv/models_1.0+x"), "models") == Path("/srv/models_1.0+x")
    assert paths.folder is None


def test_a_strange_folder_for_temporary_files_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = tmp_path / "t é"
    strange.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(strange))
    paths = PlainPaths()
    assert is_plain(paths.of(strange, "folder"))
    paths.remove()


def test_where_no_link_can_be_made_the_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_paths.os, "access", lambda *_: False)
    with pytest.raises(PathRefused, match=r"/a b has signs .*\nMove it"):
        PlainPaths().of(Path("/a b"), "x")


def test_the_interpreter_is_shown_without_lists_that_are_no_ascii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "é" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "of_ours.py").write_text("", encoding="utf-8")
    (packages / "editable.pth").write_text("/home/josé/checkout\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(packages)])
    paths = PlainPaths()
    program = interpreter.programs(paths) / "python3"
    told = [program, "-I", "-c", "import sys, of_ours; print(of_ours.__file__, sys.prefix, sys.version_info[:2])"]
    said = subprocess.check_output(told, text=True, encoding="utf-8", env={"LC_ALL": "C", "PYTHONUTF8": "0"}).strip()
    home = program.parents[1]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    file = home / "lib" / f"python{version}" / "site-packages" / "of_ours.py"
    assert said == f"{file} {home} {tuple(sys.version_info[:2])}"
    assert not list(file.parent.glob("*.pth"))
    paths.remove()


def test_an_ordinary_interpreter_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "executable", "/opt/python/bin/python3")
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    assert interpreter.programs(PlainPaths()) == Path("/opt/python/bin")


@pytest.mark.parametrize(
    "line",
    [
        "terminate called after throwing an instance of 'std::invalid_argument'\n  what():  stol",
        "/bin/bash: line 1: /a: No such file or directory",
        "sh: 1: /a: not found",
    ],
)
def test_a_stub_that_never_was_a_model_is_seen_in_the_log(line: str) -> None:
    assert line.splitlines()[-1] in log.crash(f"I1125 loading\n{line}\nI1125 more")
    assert log.crash("I1125 python_be.cc:1845] terminate called after all") == ""


def test_the_log_of_a_repository_with_a_long_name_can_be_written(tmp_path: Path) -> None:
    from deploy.local.server import LocalTriton

    path = LocalTriton(tmp_path / ("ü" * 127), http_port=1, grpc_port=2, metrics_port=3).log_path
    assert len(os.fsencode(path.name)) < 255
