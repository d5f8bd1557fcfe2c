"""What a plan was made of and for, written beside it."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import onnx

from insta_depth_shared.plans import PlanRecord

NAME = "plan.json"
_CHUNK_BYTES = 1 << 24


def save(record: PlanRecord, folder: Path) -> None:
    """Write ``record`` into an engine's folder."""
    (folder / NAME).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> PlanRecord | None:
    """Return the record in an engine's folder, or None where there is none that can be read."""
    try:
        return PlanRecord(**json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def onnx_files(path: Path) -> list[Path]:
    """Return an ONNX file and those beside it that hold its weights."""
    model = onnx.load(path, load_external_data=False)
    names = {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
    return [path, *(path.parent / name for name in sorted(names))]


def digest(*paths: Path) -> str:
    """Return the SHA-256 of the files' contents, one after the other."""
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                sha.update(chunk)
    return sha.hexdigest()
