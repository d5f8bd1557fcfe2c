"""Each thing that can be wrong with a machine is named together with what to do about it."""

import os
import platform
import re
import socket
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local import preflight, runtime
from deploy.local.errors import (
    GlibcTooOld,
    LibpythonMissing,
    PortTaken,
    PreflightError,
    RepositoryMissing,
    SharedMemoryTooSmall,
    UnsupportedProcessor,
    UnsupportedPython,
)
from deploy.local.wheel import TritonFiles


def assert_helpful(error: PreflightError, *facts: str) -> None:
    """One sentence what, one what to do, with the facts in the first."""
    assert all(fact in error.what for fact in facts), error.what
    assert error.what.endswith(".")
    assert error.remedy.endswith(".")
    assert str(error) == f"{error.what}\n{error.remedy}"


@pytest.mark.parametrize(("system", "machine"), [("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64")])
def test_another_processor_or_system_is_refused(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(UnsupportedProcessor) as refused:
        preflight.check_processor()
    assert_helpful(refused.value, system, machine, "x86-64")


@pytest.mark.parametrize("version", ["glibc 2.34", "glibc 1.99"])
def test_an_old_glibc_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: version)
    with pytest.raises(GlibcTooOld) as refused:
        preflight.check_glibc()
    assert_helpful(refused.value, version, "2.35")


def test_a_system_without_glibc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def musl(name: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", musl)
    with pytest.raises(GlibcTooOld) as refused:
        preflight.check_glibc()
    assert_helpful(refused.value, "another C library")


@pytest.mark.parametrize("version", ["glibc 2.35", "glibc 2.101", "glibc 3.0"])
def test_a_newer_glibc_is_fine(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: version)
    preflight.check_glibc()


@pytest.mark.parametrize("version", ["3.9", "3.14"])
def test_a_python_without_a_stub_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(runtime, "PYTHON_VERSION", version)
    monkeypatch.setattr(platform, "python_version", lambda: f"{version}.1")
    with pytest.raises(UnsupportedPython) as refused:
        preflight.check_python()
    assert_helpful(refused.value, f"CPython {version}.1", "3.10 to 3.13")


def test_another_implementation_of_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="pypy"))
    monkeypatch.setattr(platform, "python_implementation", lambda: "PyPy")
    with pytest.raises(UnsupportedPython) as refused:
        preflight.check_python()
    assert_helpful(refused.value, "PyPy")


def test_a_free_threaded_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1 if name == "Py_GIL_DISABLED" else None)
    with pytest.raises(UnsupportedPython) as refused:
        preflight.check_python()
    assert_helpful(refused.value, "without a GIL")


def test_a_missing_libpython_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtime, "find_libpython", lambda: None)
    with pytest.raises(LibpythonMissing) as refused:
        preflight.check_libpython(TritonFiles(tmp_path))
    assert_helpful(refused.value, runtime.LIBPYTHON, sys.base_prefix)
    assert "apt install" in refused.value.remedy


def test_the_wheels_own_libpython_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = TritonFiles(tmp_path)
    files.libraries.mkdir()
    (files.libraries / f"libpython3-419a3a08.{sys.version_info.minor}.so.1.0").touch()
    monkeypatch.setattr(runtime, "find_libpython", lambda: None)
    preflight.check_libpython(files)


def test_too_little_shared_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10 << 20))
    with pytest.raises(SharedMemoryTooSmall) as refused:
        preflight.check_shared_memory()
    assert_helpful(refused.value, "/dev/shm", "10 MiB")
    assert "--shm-size" in refused.value.remedy


def test_missing_shared_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(preflight, "SHARED_MEMORY", tmp_path / "shm")
    with pytest.raises(SharedMemoryTooSmall) as refused:
        preflight.check_shared_memory()
    assert_helpful(refused.value, "0 MiB")


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryMissing) as refused:
        preflight.check_repository(tmp_path / "build")
    assert_helpful(refused.value, str(tmp_path / "build"))
    assert "python -m export" in refused.value.remedy


def test_a_taken_port_is_named_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            preflight.check_ports("127.0.0.1", {"grpc": port})
    assert_helpful(refused.value, f"Port {port} (grpc)", "127.0.0.1", f"(pid {os.getpid()})")
    assert "--grpc-port" in refused.value.remedy


def test_a_taken_port_is_named_where_its_holder_is_not_ours_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(kind: str) -> list:
        raise PermissionError

    monkeypatch.setattr("psutil.net_connections", forbidden)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            preflight.check_ports("127.0.0.1", {"http": port})
    assert refused.value.what == f"Port {port} (http) on 127.0.0.1 is taken."


def test_a_port_that_was_used_a_moment_ago_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = holder.accept()
            # The side that closes first keeps the port in TIME_WAIT.
            accepted.close()
    preflight.check_ports("127.0.0.1", {"http": port})


def test_an_address_that_is_not_ours_is_no_taken_port() -> None:
    with pytest.raises(PreflightError) as refused:
        preflight.check_ports("192.0.2.1", {"http": 8000})
    assert not isinstance(refused.value, PortTaken)
    assert_helpful(refused.value, "192.0.2.1")


def test_a_port_given_twice_is_refused() -> None:
    with pytest.raises(PortTaken) as refused:
        preflight.check_ports("127.0.0.1", {"http": 18099, "grpc": 18099})
    assert_helpful(refused.value, "18099", "http and grpc")


def test_a_privileged_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(preflight.socket, "socket", type("Probe", (socket.socket,), {"bind": refuse}))
    with pytest.raises(PreflightError) as refused:
        preflight.check_ports("127.0.0.1", {"http": 80})
    assert_helpful(refused.value, "80", "Permission denied")


def test_this_machine_runs_its_own_tests() -> None:
    preflight.check_machine()
    assert re.fullmatch(r"libpython3\.\d+\.so\.1\.0", runtime.LIBPYTHON)
