"""One file over HTTP: resumed where it stopped, verified, and only then given its name."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.file_download import http_get

from .disk import digests
from .errors import ChecksumMismatch
from .hub import readable_errors
from .record import FileRecord

PARTIAL = ".fetching"


@dataclass(frozen=True)
class Remote:
    """A file to download; ``size`` None: the server says."""

    name: str
    url: str
    headers: dict[str, str]
    digest: str
    size: int | None


def download(remote: Remote, workspace: Path) -> Path:
    """Return the whole file, still under its working name.

    huggingface_hub's own downloads start anew after an interruption. Here the working name is the digest, so what
    has arrived is only ever continued with more of the same.
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
    """Return where a file grows."""
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
    """Return what to note of a verified file."""
    status = path.stat()
    sha256 = next(one for one in found if one.startswith("sha256:")).partition(":")[2]
    return FileRecord(status.st_size, status.st_mtime_ns, digest, sha256)
