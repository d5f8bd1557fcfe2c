"""The server's surroundings: a backend folder for this interpreter, and an environment.

A Python model runs in a *stub* process that embeds an interpreter. It must be the stub of the running Python version,
find that Python's shared library, and use the packages of this (virtual) environment.
"""

import ctypes.util
import hashlib
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from . import interpreter
from .plain_paths import PlainPaths
from .wheel import CACHE, TritonFiles

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBPYTHON = f"libpython{PYTHON_VERSION}.so.1.0"
_OWN_BACKENDS = Path(__file__).resolve().parent / "backends"
_UTILITIES = "triton_python_backend_utils.py"
_NUMPY2 = b"\n\nimport stub_numpy2\n\nstub_numpy2.install()\n"


@dataclass(frozen=True)
class Runtime:
    """The server's folders and environment."""

    backends: Path
    environment: dict[str, str]


def prepare(files: TritonFiles, paths: PlainPaths | None = None) -> Runtime:
    """Assemble backends and libpython for this interpreter; safe to call from several processes.

    ``paths``: the links for paths that the server cannot handle.
    """
    paths = paths or PlainPaths()
    root = CACHE / "runtime" / f"python{PYTHON_VERSION}-{_fingerprint(files)}"
    backends = root / "backends"
    _copy(files.python_backend / "libtriton_python.so", backends / "python")
    _copy(files.stub(PYTHON_VERSION), backends / "python")
    for own in _OWN_BACKENDS.glob("*/*.py"):
        _copy(own, backends / own.parent.name)
    utilities = (files.python_backend / _UTILITIES).read_text(encoding="utf-8")
    _write(backends / "python" / _UTILITIES, utilities.encode() + _NUMPY2)
    if libpython := find_libpython():
        _link(libpython, root / "lib" / LIBPYTHON)
    offered = paths.of(root, "runtime")
    return Runtime(offered / "backends", environment([offered / "lib", files.libraries], interpreter.programs(paths)))


def environment(library_folders: list[Path], programs: Path | None = None) -> dict[str, str]:
    """The parent's environment, ``INSTA_DEPTH_*`` settings included, plus what the stubs need.

    A stub starts its interpreter in isolated mode, which ignores PYTHONHOME and PYTHONPATH: it uses the environment
    of the first ``python3`` on the path. Of libpython's folder only that one library is offered: the server must
    not load the others (another OpenSSL, another C++ runtime).
    """
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    return inherited | {
        "PATH": _prepended("PATH", [programs or Path(sys.executable).parent]),
        "LD_LIBRARY_PATH": _prepended("LD_LIBRARY_PATH", library_folders),
        "PYTHONUNBUFFERED": "1",
    }


def _prepended(variable: str, folders: list[Path]) -> str:
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get(variable)])])


def find_libpython() -> Path | None:
    """The shared library of the running interpreter, or None if it was built without one."""
    folders = [
        sysconfig.get_config_var("LIBDIR"),
        f"{sys.base_exec_prefix}/lib",
        f"{sys.base_exec_prefix}/lib64",
        sysconfig.get_config_var("LIBPL"),
    ]
    for folder in filter(None, folders):
        if (candidate := Path(folder) / LIBPYTHON).is_file():
            return candidate
    return _from_loader()


def _from_loader() -> Path | None:
    """Ask the dynamic loader's cache, which covers a distribution's multi-arch folders."""
    if ctypes.util.find_library(f"python{PYTHON_VERSION}") != LIBPYTHON:
        return None
    folders = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"), Path("/usr/local/lib"))
    return next((folder / LIBPYTHON for folder in folders if (folder / LIBPYTHON).is_file()), None)


def _fingerprint(files: TritonFiles) -> str:
    """Environments that share a cache get separate folders."""
    text = "\n".join([str(files.root), sys.base_exec_prefix, str(_OWN_BACKENDS)])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _copy(source: Path, folder: Path) -> None:
    # A copy, since Triton rejects a backend that links out of the backend directory.
    _write(folder / source.name, source.read_bytes(), source.stat().st_mode)


def _write(target: Path, content: bytes, mode: int = 0o644) -> None:
    """Write ``content`` atomically; keep a file that has it already, since a server may be using it."""
    if target.is_file() and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.chmod(mode & 0o777)
    temporary.replace(target)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(source)
    temporary.replace(target)
