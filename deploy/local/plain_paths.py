"""Paths that the server's programs can handle.

Triton starts a model's process with an unquoted shell command, and its interpreter reads paths as ASCII. So a path with
spaces, non-ASCII or shell characters is replaced with a link.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from .errors import PathRefused

_PLAIN = re.compile(r"[A-Za-z0-9_./+=@,%-]{1,200}")
"""No colon: it would split PATH and LD_LIBRARY_PATH. Limited length, to leave room for file names."""
_ALWAYS_THERE = ("/tmp", "/var/tmp", "/dev/shm")


def is_plain(path: Path) -> bool:
    """Whether the server's programs can handle ``path``."""
    return _PLAIN.fullmatch(str(path)) is not None


class PlainPaths:
    """Creates the links, in a folder that is created with the first one; `remove` deletes it."""

    def __init__(self) -> None:
        self.folder: Path | None = None

    def of(self, path: Path, name: str) -> Path:
        """Return ``path``, or a link of this name to it if it is not plain. Raises `PathRefused`."""
        if is_plain(path):
            return path
        link = self.folder_for(path) / name
        link.symlink_to(path)
        return link

    def folder_for(self, path: Path) -> Path:
        """Return the folder of the links; create it for ``path`` if there is none. Raises `PathRefused`."""
        self.folder = self.folder or _make_folder(path)
        return self.folder

    def remove(self) -> None:
        """Delete the links, not their targets."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def _make_folder(path: Path) -> Path:
    candidates = dict.fromkeys([tempfile.gettempdir(), *_ALWAYS_THERE])
    for parent in filter(is_plain, map(Path, candidates)):
        if os.access(parent, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="insta_depth_", dir=parent))
    raise PathRefused(
        f"{path} has signs that Triton's programs cannot take; no link to it can be made in {', '.join(candidates)}.",
        "Move it to a path of letters, digits, - and _, or make one of these folders writable.",
    )
