"""What fetching asks of the disk: room before the first byte, and a file's digests.

Digests are text: ``sha256:…``, or ``git:…`` for the small files of which the hub knows git's own hash only.
"""

import hashlib
import shutil
from pathlib import Path

from .errors import NoSpace

GB = 1_000_000_000
_CHUNK = 1 << 20


def check_space(folder: Path, needed: int) -> None:
    """Raise `NoSpace` where ``folder``'s disk has fewer than ``needed`` bytes free."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise NoSpace(f"{folder} needs {needed / GB:.1f} GB more, its disk has {free / GB:.1f} GB free")


def digests(path: Path) -> frozenset[str]:
    """Return a file's digests in every form that the hub publishes."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    return frozenset({f"sha256:{sha256.hexdigest()}", f"git:{blob.hexdigest()}"})
