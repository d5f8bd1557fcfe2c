"""The stubs get this interpreter, its library and the deployment's settings, and nothing else of ours."""

import sys
import sysconfig
from pathlib import Path

import pytest

from deploy.local import runtime
from deploy.local.wheel import TritonFiles


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TritonFiles:
    monkeypatch.setattr(runtime, "CACHE", tmp_path / "cache")
    unpacked = TritonFiles(tmp_path / "wheel")
    stub = unpacked.stub(runtime.PYTHON_VERSION)
    for path in (unpacked.python_backend / "libtriton_python.so", stub):
        path.parent.mkdir(parents=True)
        path.write_text(path.name)
    stub.chmod(0o755)
    (unpacked.python_backend / "triton_python_backend_utils.py").write_text("loaded = True")
    return unpacked


def test_the_backend_folder_holds_the_python_backend_and_the_stand_in(files: TritonFiles) -> None:
    backends = runtime.prepare(files).backends
    assert sorted(str(path.relative_to(backends)) for path in backends.rglob("*") if path.is_file()) == [
        "onnxruntime/model.py",
        "onnxruntime/on_device.py",
        "python/libtriton_python.so",
        "python/stand_in.py",
        "python/stub_numpy2.py",
        "python/triton_python_backend_stub",
        "python/triton_python_backend_utils.py",
        "tensorrt/model.py",
        "tensorrt/plan.py",
    ]
    assert (backends / "python" / "triton_python_backend_stub").stat().st_mode & 0o111
    assert not any(path.is_symlink() for path in backends.rglob("*"))


def test_preparing_again_replaces_what_has_changed_and_touches_nothing_else(files: TritonFiles) -> None:
    backends = runtime.prepare(files).backends
    library, stub = backends / "python" / "libtriton_python.so", backends / "python" / "triton_python_backend_stub"
    before = stub.stat().st_ino
    (files.python_backend / "libtriton_python.so").write_text("newer")
    assert runtime.prepare(files).backends == backends
    assert library.read_text() == "newer"
    assert stub.stat().st_ino == before


def test_only_libpython_is_offered_from_its_folder(files: TritonFiles) -> None:
    prepared = runtime.prepare(files)
    own, wheels = map(Path, prepared.environment["LD_LIBRARY_PATH"].split(":")[:2])
    assert [path.name for path in own.iterdir()] == [runtime.LIBPYTHON]
    assert (own / runtime.LIBPYTHON).resolve() == runtime.find_libpython().resolve()
    assert wheels == files.libraries


def test_settings_travel_and_another_pythons_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTA_DEPTH_MAX_REQUESTS", "3")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    environment = runtime.environment([])
    assert environment["INSTA_DEPTH_MAX_REQUESTS"] == "3"
    assert "PYTHONPATH" not in environment
    assert "PYTHONHOME" not in environment


def test_the_first_python_on_the_path_is_this_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert runtime.environment([])["PATH"].split(":") == [str(Path(sys.executable).parent), "/usr/bin"]


@pytest.mark.parametrize("place", ["LIBDIR", "LIBPL"])
def test_libpython_is_found_where_the_interpreter_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    (tmp_path / runtime.LIBPYTHON).touch()
    monkeypatch.setattr(sys, "base_exec_prefix", "/nowhere")
    monkeypatch.setattr(sysconfig, "get_config_var", {place: str(tmp_path)}.get)
    assert runtime.find_libpython() == tmp_path / runtime.LIBPYTHON


def test_libpython_is_found_beside_a_relocated_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "lib" / runtime.LIBPYTHON
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(sys, "base_exec_prefix", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_config_var", {"LIBDIR": "/install/lib"}.get)
    assert runtime.find_libpython() == library


def test_a_missing_libpython_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_exec_prefix", "/nowhere")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    assert runtime.find_libpython() is None
