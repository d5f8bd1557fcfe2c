"""A plan's record, written beside it."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from insta_depth_shared.plans import PlanRecord

from ..onnx_signature import read_onnx

NAME = "plan.json"
_CHUNK_BYTES = 1 << 24


def save(record: PlanRecord, folder: Path) -> None:
    """Write ``record`` into an engine's folder."""
    (folder / NAME).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> PlanRecord | None:
    """Return the record in an engine's folder, or None if there is no readable one."""
    try:
        return PlanRecord(**json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def onnx_files(path: Path) -> list[Path]:
    """Return an ONNX file and its weight files; raises `ExportError`."""
    model = read_onnx(path)
    names = {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
    return [path, *(path.parent / name for name in sorted(names))]


def digest(*paths: Path) -> str:
    """Return the SHA-256 of the files' concatenated contents."""
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                sha.update(chunk)
    return sha.hexdigest()
