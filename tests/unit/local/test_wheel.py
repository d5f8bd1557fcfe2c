"""Triton is fetched once, whole, and only where it is not there yet."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import wheel
from deploy.local.errors import DownloadFailed


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(wheel.HOME_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stands in for pip: puts down what the wheel holds, and notes where."""
    folders: list[Path] = []

    def install(folder: Path) -> None:
        folders.append(folder)
        put_wheel(folder)

    monkeypatch.setattr(wheel, "_install", install)
    return folders


def put_wheel(folder: Path) -> None:
    files = wheel.TritonFiles(folder)
    for path in (files.server, files.libraries / "libnuma.so", folder / "pytriton" / "triton.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / f"nvidia_pytriton-{wheel.VERSION}.dist-info").mkdir()


def test_the_wheel_is_unpacked_once_without_its_python_interface(home: Path, installs: list[Path]) -> None:
    files = wheel.ensure()
    assert files.server.is_file()
    assert (files.libraries / "libnuma.so").is_file()
    assert not (files.root / "pytriton" / "triton.py").exists()
    assert wheel.ensure() == files
    assert len(installs) == 1
    assert list(home.iterdir()) == [files.root]


def test_a_server_that_lies_in_the_given_folder_is_used(home: Path, installs: list[Path]) -> None:
    put_wheel(home)
    assert wheel.ensure().root == home
    assert installs == []


def test_a_process_that_was_faster_wins(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    target = home / f"{wheel.WHEEL}-{wheel.VERSION}"

    def install(folder: Path) -> None:
        put_wheel(folder)
        put_wheel(target)

    monkeypatch.setattr(wheel, "_install", install)
    assert wheel.ensure().root == target


def test_a_failed_fetch_leaves_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    failing = [sys.executable, "-c", "print('Looking'); print('ERROR: no route to host'); raise SystemExit(1)"]
    monkeypatch.setattr(wheel, "_installer", lambda: failing)
    with pytest.raises(DownloadFailed) as failed:
        wheel.ensure()
    assert "no route to host" in failed.value.what
    assert wheel.HOME_VARIABLE in failed.value.remedy
    assert list(home.iterdir()) == []


def test_only_the_wheel_itself_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    wheel._install(tmp_path)
    (command,) = commands
    assert command[0] == sys.executable
    assert command[-4:] == ["--no-deps", "--target", str(tmp_path), "nvidia-pytriton==0.7.0"]


def test_uv_stands_in_where_there_is_no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert wheel._installer()[:3] == ["/usr/bin/uv", "pip", "install"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(DownloadFailed, match="ensurepip"):
        wheel._installer()
