"""What one source should bring, and what of it is already there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..checkpoint.weights import weight_file
from .disk import GB, digests
from .errors import ChecksumMismatch, ForeignFile
from .hub import Hub, Listing
from .published import Published
from .record import FileRecord, Record, SourceRecord
from .selection import select
from .transfer import PARTIAL, file_record, partial_path


@dataclass(frozen=True)
class Wanted:
    """A file: its ``path`` in the source, its ``target`` relative to the checkpoint; ``size`` 0: in an archive."""

    path: str
    target: str
    size: int
    digest: str


@dataclass
class Plan:
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
        """Size of what is missing; an archive comes whole. An estimate where the hub has not said what there is."""
        if not self.wanted:
            return round(self.source.size_gb * GB)
        if self.source.archive:
            return self.source.archive_size if self.missing else 0
        return sum(file.size for file in self.missing)

    def bytes_needed(self, checkpoint: Path) -> int:
        """Room that the rest of the download takes; an archive lies beside its files for a moment."""
        digest_list = [self.source.digest(archive_name(self.source))] if self.source.archive else []
        digest_list += [file.digest for file in self.missing]
        partials = (partial_path(digest, checkpoint / PARTIAL) for digest in digest_list)
        begun = sum(path.stat().st_size for path in partials if path.exists())
        return max(self.bytes_to_download() * (2 if self.source.archive else 1) - begun, 0)


def archive_name(source: Published) -> str:
    """Return the name under which the archive's digest is pinned: its one zip."""
    return next(name for name in source.sha256 if name.endswith(".zip"))


def choice(source: Published, full_weights: bool) -> str:
    """Return what was chosen of a source, to see whether another choice is made later."""
    return " ".join(["full" if full_weights else "fp16", *source.patterns])


def make_plan(source: Published, record: Record, hub: Hub, full_weights: bool) -> Plan:
    """Return what ``source`` should bring. The hub is not asked where the record says that all is there.

    Without a pinned revision the recorded one holds; without that, the newest.
    """
    known = record.find(source.part, source.repo)
    if known and known.complete and known.choice == choice(source, full_weights):
        plan = _recorded_plan(source, known)
        if source.revision in (None, known.revision) and _find_present(plan, record):
            return plan
    plan = _archive_plan(source) if source.archive else _hub_plan(source, known, hub, full_weights)
    _find_present(plan, record)
    return plan


def _recorded_plan(source: Published, known: SourceRecord) -> Plan:
    wanted = (Wanted("", path, file.size, file.digest) for path, file in known.files.items())
    return Plan(source, known.revision, known.licence, tuple(wanted))


def _archive_plan(source: Published) -> Plan:
    wanted = (Wanted(name, f"{source.folder}/{name}", 0, source.digest(name)) for name in source.patterns)
    return Plan(source, source.revision or "", source.licence.name, tuple(wanted))


def _hub_plan(source: Published, known: SourceRecord | None, hub: Hub, full_weights: bool) -> Plan:
    listing = hub.listing(source.repo, source.revision or (known.revision if known else None))
    _check_pins(source, listing)
    chosen = set(select(source, (file.path for file in listing.files), full_weights))
    wanted = (
        Wanted(file.path, f"{source.folder}/{file.path}", file.size, file.digest)
        for file in listing.files
        if file.path in chosen
    )
    licence = f"{source.licence.name}{f' (its card: {listing.licence})' if listing.licence else ''}"
    return Plan(source, listing.revision, licence, tuple(wanted))


def _check_pins(source: Published, listing: Listing) -> None:
    for file in listing.files:
        if file.path in source.sha256 and file.digest != source.digest(file.path):
            raise ChecksumMismatch(
                f"{source.repo}: {file.path} has another checksum at this endpoint than the one published"
            )


def _find_present(plan: Plan, record: Record) -> bool:
    """Fill in ``plan.present``; True if nothing is missing."""
    for file in plan.wanted:
        if found := _present(record.folder / file.target, file.digest, record.file(file.target)):
            plan.present[file.target] = found
    return not plan.missing


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


def check_foreign(plans: Iterable[Plan], record: Record) -> None:
    """Raise `ForeignFile` for weights that export might take instead of the fetched ones."""
    wanted = {file.target for plan in plans for file in plan.wanted}
    for folder in {Path(target).parent for target in wanted if weight_file(target)}:
        for path in sorted((record.folder / folder).glob("*")):
            target = path.relative_to(record.folder).as_posix()
            if weight_file(target) and target not in wanted and record.file(target) is None:
                raise ForeignFile(f"{path} did not come from here, and export might take it: move it away")
