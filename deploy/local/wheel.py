"""Triton itself, from the ``nvidia-pytriton`` wheel.

Only the server and its Python backend with the stubs are used. The wheel's requirements are for its Python interface,
which is not: hence ``--no-deps`` and a separate folder.
"""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import DownloadFailed

WHEEL = "nvidia-pytriton"
VERSION = "0.7.0"
HOME_VARIABLE = "INSTA_DEPTH_TRITON_HOME"
CACHE = Path(__file__).resolve().parents[2] / "build" / "triton"
_KEPT = ("pytriton/tritonserver", "nvidia_pytriton.libs", f"nvidia_pytriton-{VERSION}.dist-info")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TritonFiles:
    """Paths in an unpacked wheel."""

    root: Path

    @property
    def server(self) -> Path:
        """The server's executable."""
        return self.root / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    @property
    def libraries(self) -> Path:
        """Shared libraries of the program and the stubs."""
        return self.root / "nvidia_pytriton.libs"

    @property
    def python_backend(self) -> Path:
        """The Python backend, without a stub."""
        return self.root / "pytriton" / "tritonserver" / "backends" / "python"

    def stub(self, python_version: str) -> Path:
        """The executable that runs a Python model, for ``python_version`` such as ``3.11``."""
        stubs = self.root / "pytriton" / "tritonserver" / "python_backend_stubs"
        return stubs / python_version / "triton_python_backend_stub"


def ensure() -> TritonFiles:
    """Return the unpacked server; fetch the wheel if it is missing.

    The folder is ``build/triton``, or ``INSTA_DEPTH_TRITON_HOME``; it contains either the wheel's content or a
    folder named after wheel and version.
    """
    home = Path(os.environ.get(HOME_VARIABLE) or CACHE).expanduser().resolve()
    versioned = home / f"{WHEEL}-{VERSION}"
    for root in (home, versioned):
        if TritonFiles(root).server.is_file():
            return TritonFiles(root)
    _unpack(versioned)
    return TritonFiles(versioned)


def _unpack(target: Path) -> None:
    """Install the wheel beside ``target`` and rename it into place, so that it is never seen half-installed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
        everything, kept = Path(folder, "wheel"), Path(folder, "kept")
        logger.info("Fetching Triton (%s %s, about 55 MB) into %s", WHEEL, VERSION, target)
        _install(everything)
        for part in _KEPT:
            (kept / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(everything / part, kept / part)
        _rename(kept, target)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # Another process was faster and installed the same.
        if not TritonFiles(target).server.is_file():
            raise


def _install(folder: Path) -> None:
    command = [*_installer(), "--no-deps", "--target", str(folder), f"{WHEEL}=={VERSION}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    if done.returncode == 0:
        return
    reason = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "no output")
    raise DownloadFailed(
        f"Triton could not be fetched: {WHEEL}=={VERSION} did not install ({reason.strip()}).",
        f"Check that the package index can be reached, or unpack that wheel yourself and set {HOME_VARIABLE} "
        "to its folder.",
    )


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise DownloadFailed(
        f"Triton could not be fetched: {sys.executable} has no pip, and no uv is on the path.",
        "Run `python -m ensurepip` in this environment.",
    )
