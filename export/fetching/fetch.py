"""Fetching as a story: plan, consent, room, download, record."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shutil import rmtree

from filelock import FileLock, Timeout
from rich.console import Console

from .archive import extract
from .disk import GB, check_space
from .errors import FetchError, Unreachable
from .hub import IDENTITY, Hub
from .licences import ask_consent, show_licences
from .plan import Plan, Wanted, archive_name, check_foreign, choice, make_plan
from .published import PARTS, Published
from .record import Record, SourceRecord
from .transfer import PARTIAL, Remote, download, install


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
        """Bring the checkpoint to what ``sources`` say. What has arrived stays, whatever ends the run."""
        self.checkpoint.mkdir(parents=True, exist_ok=True)
        with _alone(self.workspace):
            record = Record.load(self.checkpoint)
            with self.console.status("comparing with what is there"):
                plans = [make_plan(source, record, self.hub, self.full_weights) for source in self.sources]
            check_foreign(plans, record)
            self._show(plans)
            if any(plan.missing for plan in plans):
                self._space_and_consent(plans)
            _clear(plans, record)
            for plan in plans:
                self._fetch(plan, record)
            if {source.part for source in self.sources} == set(PARTS):
                _remove_left_overs(self.workspace)

    def dry_run(self) -> None:
        """Show what `run` would do; sizes are estimates where the hub does not answer."""
        record, plans = Record.load(self.checkpoint), []
        for source in self.sources:
            try:
                plans.append(make_plan(source, record, self.hub, self.full_weights))
            except Unreachable as error:
                self._print(f"[yellow]{error}[/]")
                plans.append(Plan(source, source.revision or "the newest", source.licence.name, ()))
        self._show(plans, files=True)
        show_licences(self.sources, self.console)

    @property
    def workspace(self) -> Path:
        """Where files grow until they are whole."""
        return self.checkpoint / PARTIAL

    def _show(self, plans: list[Plan], files: bool = False) -> None:
        for plan in plans:
            self._print(f"[bold]{plan.source.part}[/]: {plan.source.repo}, {_state(plan)}")
            self._print(f"  {plan.revision}  {plan.licence}")
            for file in plan.wanted if files else ():
                self._print(f"  {_size(file):>9}  {file.target}")
        total = sum(plan.bytes_to_download() for plan in plans)
        self._print(
            f"{total / GB:.2f} GB to fetch into {self.checkpoint}" if total else f"{self.checkpoint}: up to date"
        )

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def _space_and_consent(self, plans: list[Plan]) -> None:
        check_space(self.checkpoint, sum(plan.bytes_needed(self.checkpoint) for plan in plans))
        show_licences((plan.source for plan in plans if plan.missing), self.console)
        ask_consent(self.accepted, self.console)

    def _fetch(self, plan: Plan, record: Record) -> None:
        source = _source_record(plan, record, choice(plan.source, self.full_weights))
        for target, found in plan.present.items():
            record.put(source, target, found)
        if plan.source.archive and plan.missing:
            self._fetch_archive(plan, source, record)
        elif plan.missing:
            self._fetch_files(plan, source, record)
        source.complete = True
        record.save()

    def _fetch_files(self, plan: Plan, source: SourceRecord, record: Record) -> None:
        repo = plan.source.repo
        for file in plan.missing:
            url = self.hub.url(repo, plan.revision, file.path)
            remote = Remote(f"{repo}/{file.path}", url, self.hub.headers(), file.digest, file.size)
            self._install(download(remote, self.workspace), file, source, record)

    def _fetch_archive(self, plan: Plan, source: SourceRecord, record: Record) -> None:
        published = plan.source
        name = archive_name(published)
        archive = self.workspace / name
        if not archive.exists():
            digest = published.digest(name)
            remote = Remote(name, published.archive or "", IDENTITY, digest, published.archive_size)
            install(download(remote, self.workspace), digest, archive, name)
        for file in plan.missing:
            unpacked = self.workspace / f"{file.path}.unpacked"
            extract(archive, file.path, unpacked)
            self._install(unpacked, file, source, record)
        archive.unlink()

    def _install(self, arrived: Path, file: Wanted, source: SourceRecord, record: Record) -> None:
        name = f"{source.repo}/{file.path}"
        record.put(source, file.target, install(arrived, file.digest, self.checkpoint / file.target, name))


@contextmanager
def _alone(workspace: Path) -> Iterator[None]:
    """Two runs into one folder would write into the same partial files."""
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
    """Delete what grew for an earlier choice; only after a whole fetch, since another part's may go on later."""
    for left_over in workspace.glob("*.partial"):
        left_over.unlink()


def _clear(plans: list[Plan], record: Record) -> None:
    """Delete what earlier choices brought and these don't: half of one base and half of another would both load."""
    present = {target for plan in plans for target in plan.present}
    parts = {plan.source.part for plan in plans}
    for path in [path for path in record.paths(parts) if path not in present]:
        (record.folder / path).unlink(missing_ok=True)
    for source in record.sources:
        if source.part in parts:
            source.files = {path: file for path, file in source.files.items() if path in present}
    kept = {(plan.source.part, plan.source.repo) for plan in plans}
    record.sources = [s for s in record.sources if s.part not in parts or (s.part, s.repo) in kept]
    record.save()


def _source_record(plan: Plan, record: Record, chosen: str) -> SourceRecord:
    """Return the record of a source, brought to this plan."""
    known = record.find(plan.source.part, plan.source.repo)
    if known and known.revision == plan.revision and known.choice == chosen and not plan.missing:
        return known
    fresh = SourceRecord(
        part=plan.source.part,
        repo=plan.source.repo,
        revision=plan.revision,
        choice=chosen,
        licence=plan.licence,
        licence_url=plan.source.licence.url,
        fetched_on=datetime.now(timezone.utc).date().isoformat(),
        files=known.files if known else {},
    )
    record.sources = [source for source in record.sources if source is not known] + [fresh]
    return fresh


def _state(plan: Plan) -> str:
    if plan.wanted and not plan.missing:
        return "up to date"
    return f"{'' if plan.wanted else 'about '}{plan.bytes_to_download() / GB:.2f} GB to fetch"


def _size(file: Wanted) -> str:
    return f"{file.size / GB:.3f} GB" if file.size else "zipped"
