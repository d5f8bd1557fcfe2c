"""Writing a file whole or not at all."""

from pathlib import Path
from uuid import uuid4


def write_atomically(path: Path, content: bytes) -> Path:
    """Write ``content`` beside ``path`` under a passing name, then rename: no reader sees half a file."""
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return path
