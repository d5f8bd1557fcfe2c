"""What Triton's log says about loading: how far it is, and why it failed."""

import re
from pathlib import Path

_LOADED = re.compile(r"successfully loaded '([^']+)'")
_ERROR = re.compile(r"^E\d{4} .*?\] (?P<text>.+)$", re.MULTILINE)
_NO_GPU = "CudaDriverHelper"  # an error to Triton, the usual case to a laptop
_MOST_LINES = 20
_CRASH = re.compile(r"^(terminate called after .*(\n *what\(\): .*)?|(/\S+/)?(ba|da)?sh: .*)$", re.MULTILINE)


def read(path: Path) -> str:
    """The whole log; bytes that are no text do not matter here."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def loaded_models(text: str) -> list[str]:
    """Names of the models that are ready, in order."""
    return list(dict.fromkeys(_LOADED.findall(text)))


def why_failed(text: str) -> str:
    """The lines that say why, indented: Triton's errors with their tracebacks, else begin and end of the log."""
    errors = [_unescaped(match["text"]) for match in _ERROR.finditer(text) if _NO_GPU not in match["text"]]
    lines = [line for line in ("\n".join(errors) or text).splitlines() if line.strip()]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES // 2], "…", *lines[-_MOST_LINES // 2 :]]
    return "\n".join(f"  {line}" for line in lines)


def crash(text: str) -> str:
    """What is left of a stub that ended before it was a Python model: Triton would wait for it for ever."""
    match = _CRASH.search(text)
    return f"  {match[0]}" if match else ""


def _unescaped(message: str) -> str:
    """Triton quotes a message onto one line."""
    return message.strip('"').replace("\\n", "\n").replace('\\"', '"')
