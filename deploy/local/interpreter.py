"""The Python environment of Triton's stubs: this interpreter, with its packages.

A stub uses the environment of the first ``python3`` on the path and reads every path in it as ASCII. If that fails, it
gets another environment: links to the same interpreter and packages.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from .plain_paths import PlainPaths, is_plain

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def programs(paths: PlainPaths) -> Path:
    """Return the folder of a ``python3`` with an environment that a stub can read."""
    folder = Path(sys.executable).parent
    lists = [each for packages in _package_folders() for each in packages.glob("*.pth")]
    if is_plain(folder) and is_plain(Path(sys.base_prefix)) and all(map(_is_readable, lists)):
        return folder
    return _environment(paths.folder_for(folder) / "python", paths.of(Path(sys.base_prefix), "base") / "bin")


def _package_folders() -> Iterator[Path]:
    for entry in map(Path, sys.path):
        if entry.name in ("site-packages", "dist-packages") and entry.is_dir():
            yield entry


def _is_readable(path_list: Path) -> bool:
    """Whether the stub's interpreter can read a ``.pth`` file."""
    return path_list.read_bytes().isascii()


def _environment(folder: Path, home: Path) -> Path:
    """Write a virtual environment whose packages are links to ours; ``home`` is the folder of the base's programs."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").symlink_to(home / f"python{_VERSION}")
    (folder / "pyvenv.cfg").write_text(f"home = {home}\n", encoding="utf-8")
    packages = folder / "lib" / f"python{_VERSION}" / "site-packages"
    packages.mkdir(parents=True)
    for entry in [entry for found in _package_folders() for entry in found.iterdir()]:
        link = packages / entry.name
        if not link.is_symlink() and (entry.suffix != ".pth" or _is_readable(entry)):
            link.symlink_to(entry)
    return folder / "bin"
