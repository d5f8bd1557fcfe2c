"""Fetching step by step: compare, check space, ask for consent, download, record."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shutil import rmtree

from filelock import FileLock, Timeout
from rich.console import Console

from .archive import extract
from .downloads import GB, Download, Wanted, archive_name, check_foreign, check_space, choice, find_download
from .errors import FetchError, LicenceRefused, Unreachable
from .hub import IDENTITY, Hub
from .published import PARTS, Published
from .record import Record, SourceRecord
from .transfer import PARTIAL, Remote, download_file, install


@dataclass
class Fetch:
    """One run of ``python -m export fetch``."""

    checkpoint: Path
    sources: list[Published]
    hub: Hub
    console: Console
    full_weights: bool = False
    accepted: bool = False

    def run(self) -> None:
        """Download what the checkpoint lacks of ``sources``. An interrupted run keeps what it has downloaded."""
        self.checkpoint.mkdir(parents=True, exist_ok=True)
        with _alone(self.workspace):
            record = Record.load(self.checkpoint)
            with self.console.status("comparing with what is there"):
                downloads = [find_download(source, record, self.hub, self.full_weights) for source in self.sources]
            check_foreign(downloads, record)
            self._show(downloads)
            if any(download.missing for download in downloads):
                self._space_and_consent(downloads)
            _clear(downloads, record)
            for download in downloads:
                self._fetch(download, record)
            if {source.part for source in self.sources} >= set(PARTS):
                _remove_left_overs(self.workspace)

    def dry_run(self) -> None:
        """Show what `run` would do; sizes are estimates if the hub does not answer."""
        record, downloads = Record.load(self.checkpoint), []
        for source in self.sources:
            try:
                downloads.append(find_download(source, record, self.hub, self.full_weights))
            except Unreachable as error:
                self._print(f"[yellow]{error}[/]")
                downloads.append(Download(source, source.revision or "the newest", source.licence.name, ()))
        self._show(downloads, files=True)
        _show_licences(self.sources, self.console)

    @property
    def workspace(self) -> Path:
        """The folder of partial downloads."""
        return self.checkpoint / PARTIAL

    def _show(self, downloads: list[Download], files: bool = False) -> None:
        for download in downloads:
            self._print(f"[bold]{download.source.part}[/]: {download.source.repo}, {_state(download)}")
            self._print(f"  {download.revision}  {download.licence}")
            for file in download.wanted if files else ():
                self._print(f"  {_size(file):>9}  {file.target}")
        total = sum(download.bytes_to_download() for download in downloads)
        self._print(
            f"{total / GB:.2f} GB to fetch into {self.checkpoint}" if total else f"{self.checkpoint}: up to date"
        )

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def _space_and_consent(self, downloads: list[Download]) -> None:
        check_space(self.checkpoint, sum(download.bytes_needed(self.checkpoint) for download in downloads))
        _show_licences((download.source for download in downloads if download.missing), self.console)
        _ask_consent(self.accepted, self.console)

    def _fetch(self, download: Download, record: Record) -> None:
        source = _source_record(download, record, choice(download.source, self.full_weights))
        for target, found in download.present.items():
            record.put(source, target, found)
        if download.source.archive and download.missing:
            self._fetch_archive(download, source, record)
        elif download.missing:
            self._fetch_files(download, source, record)
        source.complete = True
        record.save()

    def _fetch_files(self, download: Download, source: SourceRecord, record: Record) -> None:
        repo = download.source.repo
        for file in download.missing:
            url = self.hub.url(repo, download.revision, file.path)
            remote = Remote(f"{repo}/{file.path}", url, self.hub.headers(), file.digest, file.size)
            self._install(download_file(remote, self.workspace), file, source, record)

    def _fetch_archive(self, download: Download, source: SourceRecord, record: Record) -> None:
        published = download.source
        name = archive_name(published)
        archive = self.workspace / name
        if not archive.exists():
            digest = published.digest(name)
            remote = Remote(name, published.archive or "", IDENTITY, digest, published.archive_size)
            install(download_file(remote, self.workspace), digest, archive, name)
        for file in download.missing:
            unpacked = self.workspace / f"{file.path}.unpacked"
            extract(archive, file.path, unpacked)
            self._install(unpacked, file, source, record)
        archive.unlink()

    def _install(self, arrived: Path, file: Wanted, source: SourceRecord, record: Record) -> None:
        name = f"{source.repo}/{file.path}"
        record.put(source, file.target, install(arrived, file.digest, self.checkpoint / file.target, name))


@contextmanager
def _alone(workspace: Path) -> Iterator[None]:
    """Lock the folder: two runs would write to the same partial files."""
    workspace.mkdir(parents=True, exist_ok=True)
    lock = FileLock(workspace / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FetchError(f"another fetch is writing to {workspace.parent}") from error
    try:
        yield
    finally:
        if not any(path.suffix in (".partial", ".zip") for path in workspace.iterdir()):
            rmtree(workspace)
        lock.release()


def _remove_left_overs(workspace: Path) -> None:
    """Delete partial files of earlier options; only after a complete fetch, since other parts may be resumed later."""
    for left_over in workspace.glob("*.partial"):
        left_over.unlink()


def _clear(downloads: list[Download], record: Record) -> None:
    """Delete files of earlier options: half of one base and half of another would both load."""
    present = {target for download in downloads for target in download.present}
    parts = {download.source.part for download in downloads}
    for path in [path for path in record.paths(parts) if path not in present]:
        (record.folder / path).unlink(missing_ok=True)
    for source in record.sources:
        if source.part in parts:
            source.files = {path: file for path, file in source.files.items() if path in present}
    kept = {(download.source.part, download.source.repo) for download in downloads}
    record.sources = [s for s in record.sources if s.part not in parts or (s.part, s.repo) in kept]
    record.save()


def _source_record(download: Download, record: Record, chosen: str) -> SourceRecord:
    """Return the record of a source, updated to this download."""
    known = record.find(download.source.part, download.source.repo)
    if known and known.revision == download.revision and known.choice == chosen and not download.missing:
        return known
    fresh = SourceRecord(
        part=download.source.part,
        repo=download.source.repo,
        revision=download.revision,
        choice=chosen,
        licence=download.licence,
        licence_url=download.source.licence.url,
        fetched_on=datetime.now(timezone.utc).date().isoformat(),
        files=known.files if known else {},
    )
    record.sources = [source for source in record.sources if source is not known] + [fresh]
    return fresh


def _state(download: Download) -> str:
    if download.wanted and not download.missing:
        return "up to date"
    return f"{'' if download.wanted else 'about '}{download.bytes_to_download() / GB:.2f} GB to fetch"


def _size(file: Wanted) -> str:
    return f"{file.size / GB:.3f} GB" if file.size else "zipped"


def _show_licences(sources: Iterable[Published], console: Console) -> None:
    """Print each licence once: what it covers, what it allows, and its URL."""
    covered: dict[tuple[str, str, str], list[str]] = {}
    for source in sources:
        key = (source.licence.name, source.licence.allows, source.licence.url)
        covered.setdefault(key, []).append(source.repo)
    for (name, allows, url), repos in covered.items():
        console.print(f"[bold]{name}[/]: {', '.join(repos)}", highlight=False, soft_wrap=True)
        console.print(f"  {allows}\n  {url}", highlight=False, soft_wrap=True)


def _ask_consent(accepted: bool, console: Console) -> None:
    """Return if the licences are accepted, by option or at the prompt; raises `LicenceRefused`."""
    if accepted:
        return
    if not sys.stdin.isatty():
        raise LicenceRefused("nobody is here to accept the licences above; say --accept-licences if you do")
    if console.input("Do you accept these licences? [y/N] ").strip().lower() not in ("y", "yes"):
        raise LicenceRefused("the licences were not accepted; nothing was downloaded")
