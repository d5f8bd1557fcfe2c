"""``fetched.json``: a checkpoint's files with their revision, licence and hashes."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .errors import FetchError

NAME = "fetched.json"


@dataclass
class FileRecord:
    """A verified file. ``digest`` is the published one; ``mtime_ns`` shows whether it must be hashed again."""

    size: int
    mtime_ns: int
    digest: str
    sha256: str


@dataclass
class SourceRecord:
    """The files from one source; ``files`` by path relative to the checkpoint."""

    part: str
    repo: str
    revision: str
    choice: str
    licence: str
    licence_url: str
    fetched_on: str
    complete: bool = False
    files: dict[str, FileRecord] = field(default_factory=dict)


@dataclass
class Record:
    """All sources of one checkpoint."""

    folder: Path
    sources: list[SourceRecord] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """Read ``folder``'s record, or start an empty one."""
        path = folder / NAME
        if not path.exists():
            return cls(folder)
        try:
            return cls(
                folder, [_source(content) for content in json.loads(path.read_text(encoding="utf-8"))["sources"]]
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError(f"{path} cannot be read; delete it, and the files are checked anew") from error

    def save(self) -> None:
        """Write the record atomically."""
        draft = self.folder / f".{NAME}"
        draft.write_text(
            json.dumps({"sources": [asdict(source) for source in self.sources]}, indent=2) + "\n", encoding="utf-8"
        )
        draft.replace(self.folder / NAME)

    def find(self, part: str, repo: str) -> SourceRecord | None:
        """Return the record of ``repo`` as the source of ``part``."""
        return next((source for source in self.sources if (source.part, source.repo) == (part, repo)), None)

    def file(self, path: str) -> FileRecord | None:
        """Return the record of one file, from any source."""
        return next((source.files[path] for source in self.sources if path in source.files), None)

    def put(self, source: SourceRecord, path: str, file: FileRecord) -> None:
        """Add one file to ``source`` and remove it from all others."""
        for other in self.sources:
            other.files.pop(path, None)
        source.files[path] = file
        self.save()

    def paths(self, parts: set[str]) -> Iterator[str]:
        """Yield the files of ``parts``."""
        for source in self.sources:
            if source.part in parts:
                yield from source.files


def _source(content: dict) -> SourceRecord:
    files = {path: FileRecord(**file) for path, file in content.pop("files").items()}
    return SourceRecord(**content, files=files)
