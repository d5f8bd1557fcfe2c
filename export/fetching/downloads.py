"""One source's files: which are wanted, and which are already there."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ..checkpoint.weights import WeightFile, best_form, by_folder, weight_file
from .errors import ChecksumMismatch, ForeignFile, NoSpace, NotPublished
from .hub import Hub, Listing
from .published import Published
from .record import FileRecord, Record, SourceRecord
from .transfer import PARTIAL, digests, file_record, partial_path

GB = 1_000_000_000
_CONFIGS = (".json", ".txt")


@dataclass(frozen=True)
class Wanted:
    """A file: its ``path`` in the source, its ``target`` relative to the checkpoint; ``size`` 0: in an archive."""

    path: str
    target: str
    size: int
    digest: str


@dataclass
class Download:
    """One source at one revision."""

    source: Published
    revision: str
    licence: str
    wanted: tuple[Wanted, ...]
    present: dict[str, FileRecord] = field(default_factory=dict)

    @property
    def missing(self) -> list[Wanted]:
        """What must be downloaded."""
        return [file for file in self.wanted if file.target not in self.present]

    def bytes_to_download(self) -> int:
        """Size of the missing files; an archive is downloaded whole. An estimate if the hub did not answer."""
        if not self.wanted:
            return round(self.source.size_gb * GB)
        if self.source.archive:
            return self.source.archive_size if self.missing else 0
        return sum(file.size for file in self.missing)

    def bytes_needed(self, checkpoint: Path) -> int:
        """Disk space for the rest of the download; an archive and its files exist side by side for a moment."""
        digest_list = [self.source.digest(archive_name(self.source))] if self.source.archive else []
        digest_list += [file.digest for file in self.missing]
        partials = (partial_path(digest, checkpoint / PARTIAL) for digest in digest_list)
        begun = sum(path.stat().st_size for path in partials if path.exists())
        return max(self.bytes_to_download() * (2 if self.source.archive else 1) - begun, 0)


def archive_name(source: Published) -> str:
    """Return the name under which the archive's digest is pinned: its one zip."""
    return next(name for name in source.sha256 if name.endswith(".zip"))


def choice(source: Published, full_weights: bool) -> str:
    """Return the options for a source as text, to notice when they change later."""
    return " ".join(["full" if full_weights else "fp16", *source.patterns])


def find_download(source: Published, record: Record, hub: Hub, full_weights: bool) -> Download:
    """Return the download of ``source``.

    The hub is not asked if the record says that it is complete. Without a pinned revision the recorded one is used;
    without that, the newest.
    """
    known = record.find(source.part, source.repo)
    if known and known.complete and known.choice == choice(source, full_weights):
        download = _recorded_download(source, known)
        if source.revision in (None, known.revision) and _find_present(download, record):
            return download
    download = _archive_download(source) if source.archive else _hub_download(source, known, hub, full_weights)
    _find_present(download, record)
    return download


def _recorded_download(source: Published, known: SourceRecord) -> Download:
    wanted = (Wanted("", path, file.size, file.digest) for path, file in known.files.items())
    return Download(source, known.revision, known.licence, tuple(wanted))


def _archive_download(source: Published) -> Download:
    wanted = (Wanted(name, f"{source.folder}/{name}", 0, source.digest(name)) for name in source.patterns)
    return Download(source, source.revision or "", source.licence.name, tuple(wanted))


def _hub_download(source: Published, known: SourceRecord | None, hub: Hub, full_weights: bool) -> Download:
    listing = hub.listing(source.repo, source.revision or (known.revision if known else None))
    _check_pins(source, listing)
    chosen = set(select(source, (file.path for file in listing.files), full_weights))
    wanted = (
        Wanted(file.path, f"{source.folder}/{file.path}", file.size, file.digest)
        for file in listing.files
        if file.path in chosen
    )
    licence = f"{source.licence.name}{f' (its card: {listing.licence})' if listing.licence else ''}"
    return Download(source, listing.revision, licence, tuple(wanted))


def select(source: Published, paths: Iterable[str], full_weights: bool) -> list[str]:
    """Return the files of ``paths`` to fetch; raises `NotPublished` if a needed one is missing.

    Of a folder that holds weights more than once, `best_form` chooses. Single-file checkpoints, ONNX, OpenVINO and
    Flax files are skipped.
    """
    paths = sorted(path for path in paths if any(fnmatchcase(path, pattern) for pattern in source.patterns))
    missing = [path for path in source.needs if path not in paths]
    if missing:
        raise NotPublished(f"{source.repo} has no {', '.join(missing)}: it is not in the layout that export reads")
    unwanted = {path for weights in by_folder(paths).values() for path in _other_forms(weights, full_weights)}
    return [path for path in paths if path in source.patterns or (path not in unwanted and _is_read(path))]


def _is_read(path: str) -> bool:
    return weight_file(path) is not None or path.endswith(_CONFIGS)


def _other_forms(weights: Mapping[str, WeightFile], full_weights: bool) -> Iterable[str]:
    best = best_form((named.form for named in weights.values()), full_weights)
    return (path for path, named in weights.items() if named.form != best)


def _check_pins(source: Published, listing: Listing) -> None:
    for file in listing.files:
        if file.path in source.sha256 and file.digest != source.digest(file.path):
            raise ChecksumMismatch(
                f"{source.repo}: {file.path} has another checksum at this endpoint than the one published"
            )


def _find_present(download: Download, record: Record) -> bool:
    """Fill in ``download.present``; True if nothing is missing."""
    for file in download.wanted:
        if found := _present(record.folder / file.target, file.digest, record.file(file.target)):
            download.present[file.target] = found
    return not download.missing


def _present(path: Path, digest: str, known: FileRecord | None) -> FileRecord | None:
    if not path.exists():
        return None
    status = path.stat()
    if known and (known.digest, known.size, known.mtime_ns) == (digest, status.st_size, status.st_mtime_ns):
        return known
    found = digests(path)
    if digest in found:
        return file_record(path, digest, found)
    if known is None:
        raise ForeignFile(f"{path} differs from the published file and did not come from here: move it away")
    return None


def check_foreign(downloads: Iterable[Download], record: Record) -> None:
    """Raise `ForeignFile` for weights that export might use instead of the fetched ones."""
    wanted = {file.target for download in downloads for file in download.wanted}
    for folder in {Path(target).parent for target in wanted if weight_file(target)}:
        for path in sorted((record.folder / folder).glob("*")):
            target = path.relative_to(record.folder).as_posix()
            if weight_file(target) and target not in wanted and record.file(target) is None:
                raise ForeignFile(f"{path} did not come from here, and export might take it: move it away")


def check_space(folder: Path, needed: int) -> None:
    """Raise `NoSpace` if ``folder``'s disk has fewer than ``needed`` bytes free."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise NoSpace(f"{folder} needs {needed / GB:.1f} GB more, its disk has {free / GB:.1f} GB free")
