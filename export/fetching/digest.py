"""Hashes as text: ``sha256:…``, or ``git:…`` for the small files of which the hub knows git's own hash only."""

import hashlib
from pathlib import Path

_CHUNK = 1 << 20


def digests(path: Path) -> frozenset[str]:
    """Return a file's digests in every form that the hub publishes."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    return frozenset({f"sha256:{sha256.hexdigest()}", f"git:{blob.hexdigest()}"})
