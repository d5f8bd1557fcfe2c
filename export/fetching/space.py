"""Whether the disk has room, asked before the first byte."""

import shutil
from pathlib import Path

from .errors import NoSpace

GB = 1_000_000_000


def check_space(folder: Path, needed: int) -> None:
    """Raise `NoSpace` where ``folder``'s disk has fewer than ``needed`` bytes free."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise NoSpace(f"{folder} needs {needed / GB:.1f} GB more, its disk has {free / GB:.1f} GB free")
