"""Opening a checkpoint's files. An unreadable one is reported in one sentence that names the file."""

import codecs
import json
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def check_readable(path: Path) -> None:
    """Raise `CheckpointError` if ``path`` is missing, no file, empty, not permitted, or a Git LFS pointer."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a directory; a file is needed")
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise CheckpointError(f"{path} is empty")
    if start == _LFS_POINTER:
        raise CheckpointError(f"{path} is only Git LFS's pointer to the file: fetch the file itself (git lfs pull)")


def utf8_text(path: Path) -> str:
    """Read UTF-8 text; raises `CheckpointError`.

    A byte-order mark is an error: diffusers and transformers, which read the same file later, fail on it.
    """
    check_readable(path)
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        raise CheckpointError(f"{path} begins with a byte-order mark: save it as UTF-8 without one")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: byte {error.start} is {content[error.start]:#04x}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file; raises `CheckpointError`."""
    try:
        return json.loads(utf8_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {first_line(error)}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises `CheckpointError` if the file has other content."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}; an object with fields is needed")
    return content


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if the message is empty."""
    return next((line for line in str(error).strip().splitlines() if line.strip()), type(error).__name__)
