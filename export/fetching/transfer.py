"""One file over HTTP: resumed, verified, and only then renamed to its final name."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.file_download import http_get

from .errors import ChecksumMismatch
from .hub import readable_errors
from .record import FileRecord

PARTIAL = ".fetching"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A file to download; ``size`` None: unknown until the server answers."""

    name: str
    url: str
    headers: dict[str, str]
    digest: str
    size: int | None


def download_file(remote: Remote, workspace: Path) -> Path:
    """Download the file under its temporary name. huggingface_hub's own downloads restart after an interruption.

    Here the temporary name is the digest, so a partial file is only ever resumed with the same content.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    partial = partial_path(remote.digest, workspace)
    if remote.size is not None and partial.exists() and partial.stat().st_size > remote.size:
        partial.unlink()
    with readable_errors(remote.name), partial.open("ab") as file:
        http_get(
            remote.url,
            file,
            resume_size=file.tell(),
            headers=remote.headers,
            expected_size=remote.size,
            displayed_filename=remote.name,
        )
    return partial


def partial_path(digest: str, workspace: Path) -> Path:
    """Return the path of a partial file."""
    return workspace / f"{digest.partition(':')[2]}.partial"


def install(arrived: Path, digest: str, target: Path, name: str) -> FileRecord:
    """Verify ``arrived`` and move it to ``target``; raises `ChecksumMismatch` after deleting what is wrong."""
    found = digests(arrived)
    if digest not in found:
        arrived.unlink()
        raise ChecksumMismatch(f"{name} does not have its published checksum; it was deleted, run again to fetch it")
    target.parent.mkdir(parents=True, exist_ok=True)
    arrived.replace(target)
    return file_record(target, digest, found)


def file_record(path: Path, digest: str, found: frozenset[str]) -> FileRecord:
    """Return the record of a verified file."""
    status = path.stat()
    sha256 = next(one for one in found if one.startswith("sha256:")).partition(":")[2]
    return FileRecord(status.st_size, status.st_mtime_ns, digest, sha256)


def digests(path: Path) -> frozenset[str]:
    """Return a file's digests in every form that the hub publishes: ``sha256:…``, and ``git:…``.

    Of small files the hub knows git's own hash only.
    """
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    return frozenset({f"sha256:{sha256.hexdigest()}", f"git:{blob.hexdigest()}"})
