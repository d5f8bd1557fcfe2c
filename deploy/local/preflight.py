"""Checks before the start; each message says what to do."""

import errno
import os
import platform
import re
import shutil
import socket
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import psutil

from . import runtime
from .errors import (
    AddressRefused,
    GlibcTooOld,
    LibpythonMissing,
    PortTaken,
    RepositoryMissing,
    SharedMemoryTooSmall,
    UnsupportedProcessor,
    UnsupportedPython,
)
from .wheel import TritonFiles

GLIBC = (2, 35)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_BYTES = 48 << 20
_ELSEWHERE = "Run the repository in the Triton container on another machine and point the client at it."


def check_machine() -> None:
    """Raise a `PreflightError` if the server cannot run here at all, before anything is downloaded."""
    check_processor()
    check_glibc()
    check_python()
    check_shared_memory()


def check_processor() -> None:
    """The wheel contains only x86-64 Linux programs."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise UnsupportedProcessor(
            f"The local Triton runs on Linux with an x86-64 processor only; this is {system} on {machine}.",
            _ELSEWHERE,
        )


def check_glibc() -> None:
    """The server is linked against glibc 2.35."""
    found = _libc_version()
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", found)
    if match is None or (int(match[1]), int(match[2])) < GLIBC:
        raise GlibcTooOld(
            f"The local Triton needs glibc {GLIBC[0]}.{GLIBC[1]} or newer; this system has {found}.",
            "Use a newer distribution (Ubuntu 22.04, Debian 12, RHEL 10 or later), or the Triton container.",
        )


def _libc_version() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "another C library"
    except (ValueError, OSError):
        return "another C library"


def check_python() -> None:
    """The wheel contains one stub per minor version of CPython, with GIL."""
    found = f"{platform.python_implementation()} {platform.python_version()}"
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    if runtime.PYTHON_VERSION in PYTHONS and sys.implementation.name == "cpython" and not free_threaded:
        return
    raise UnsupportedPython(
        f"The local Triton needs CPython {PYTHONS[0]} to {PYTHONS[-1]}; this is {found}"
        f"{' without a GIL' if free_threaded else ''}.",
        f"Make the virtual environment with one of those, as in `python{PYTHONS[2]} -m venv .venv`.",
    )


def check_libpython(files: TritonFiles) -> None:
    """The stub links the interpreter's shared library, which is a separate package on some distributions."""
    if _bundled(files) or runtime.find_libpython():
        return
    raise LibpythonMissing(
        f"The shared library {runtime.LIBPYTHON} of {sys.base_prefix} was not found.",
        f"Install it (Debian and Ubuntu: `apt install libpython{runtime.PYTHON_VERSION}`; pyenv: reinstall with "
        "PYTHON_CONFIGURE_OPTS=--enable-shared), or use a Python from uv or conda, which have it.",
    )


def _bundled(files: TritonFiles) -> bool:
    """The wheel contains the library for the Python version that it was built with."""
    minor = runtime.PYTHON_VERSION.partition(".")[2]
    return any(files.libraries.glob(f"libpython3-*.{minor}.so*"))


def check_shared_memory() -> None:
    """Tensors travel between the server and the Python models through /dev/shm."""
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    if free < SHARED_MEMORY_BYTES:
        raise SharedMemoryTooSmall(
            f"{SHARED_MEMORY} has {free >> 20} MiB free; Triton needs at least {SHARED_MEMORY_BYTES >> 20} MiB.",
            "In a container start it with a larger one, as in `docker run --shm-size=2g`.",
        )


def check_repository(repository: Path) -> None:
    """Triton itself would start with an empty repository and serve nothing."""
    if not any(repository.glob("*/config.pbtxt")):
        raise RepositoryMissing(
            f"{repository} is not a model repository: no folder in it has a config.pbtxt.",
            "Make one with `python -m export onnx --checkpoint DIR --output build/NAME`.",
        )


def check_ports(host: str, ports: Mapping[str, int]) -> None:
    """Bind each of ``ports`` (by purpose) once, as the server will."""
    for purpose, port in ports.items():
        if twice := [other for other in ports if ports[other] == port and other != purpose]:
            raise PortTaken(f"Port {port} is given for {purpose} and {twice[0]}.", "Give each a port of its own.")
        if (error := _bind_error(host, port)) is None:
            continue
        if error.errno != errno.EADDRINUSE:
            raise AddressRefused(
                f"Port {port} ({purpose}) on {host} cannot be listened on: {error.strerror}.",
                f"Choose an address of this machine with --host and a port above 1023 with --{purpose}-port.",
            )
        raise PortTaken(
            f"Port {port} ({purpose}) on {host} is taken{_holder(port)}.",
            f"Stop that process, or choose another port with --{purpose}-port.",
        )


def _bind_error(host: str, port: int) -> OSError | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Connections of a server that has just exited must not count as a listening socket.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def _holder(port: int) -> str:
    """`` by NAME (pid N)``, or "" if the process is not visible to us."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return ""
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        if listens and connection.pid:
            return f" by {_process_name(connection.pid)} (pid {connection.pid})"
    return ""


def _process_name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "a process"
