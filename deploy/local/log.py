"""Reading Triton's log: loading progress, and why it failed."""

import re
from pathlib import Path

_LOADED = re.compile(r"successfully loaded '([^']+)'")
_ERROR = re.compile(r"^E\d{4} .*?\] (?P<text>.+)$", re.MULTILINE)
_NO_GPU = re.compile("CudaDriverHelper|unable to create stream for")
"""In errors that Triton logs where a laptop simply has no GPU."""
_MOST_LINES = 20
_CRASH = re.compile(r"^(terminate called after .*(\n *what\(\): .*)?|(/\S+/)?(ba|da)?sh: .*)$", re.MULTILINE)


def read(path: Path) -> str:
    """The whole log; invalid bytes are replaced."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def loaded_models(text: str) -> list[str]:
    """Names of the models that are ready, in order."""
    return list(dict.fromkeys(_LOADED.findall(text)))


def why_failed(text: str) -> str:
    """The relevant lines, indented: Triton's errors with their tracebacks, else the start and end of the log."""
    errors = [_unescaped(match["text"]) for match in _ERROR.finditer(text) if not _NO_GPU.search(match["text"])]
    lines = [line for line in ("\n".join(errors) or text).splitlines() if line.strip()]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES // 2], "…", *lines[-_MOST_LINES // 2 :]]
    return "\n".join(f"  {line}" for line in lines)


def crash(text: str) -> str:
    """The output of a stub that exited before it became a Python model: Triton would wait for it for ever."""
    match = _CRASH.search(text)
    return f"  {match[0]}" if match else ""


def _unescaped(message: str) -> str:
    """Undo Triton's quoting of a message onto one line."""
    return message.strip('"').replace("\\n", "\n").replace('\\"', '"')
