"""How the command lines report errors: one sentence on stderr, and a traceback only on request."""

import os
import sys
from collections.abc import Callable

from .checkpoint.files import first_line
from .errors import ExportError

TRACEBACK = "INSTA_DEPTH_TRACEBACK"
"""An environment variable: with ``1`` errors keep their traceback."""
_INTERRUPTED = 130
_LONGEST = 400


def run_command(name: str, command: Callable[[], int]) -> int:
    """Return the exit status of ``command``: its own, 1 after an error, 130 after Ctrl-C."""
    try:
        return command()
    except KeyboardInterrupt:
        return _end(name, "interrupted", _INTERRUPTED)
    except Exception as error:
        if os.environ.get(TRACEBACK, "0") not in ("", "0"):
            raise
        return _end(name, _sentence(error), 1)


def _sentence(error: Exception) -> str:
    if isinstance(error, ExportError | OSError):
        return " ".join(str(error).split()) or type(error).__name__
    line = first_line(error)
    shown = line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
    kind = type(error).__name__
    said = kind if shown == kind else f"{kind}: {shown}"
    return f"unexpected {said} ({TRACEBACK}=1 shows where)"


def _end(name: str, sentence: str, status: int) -> int:
    sys.stderr.write(f"{name}: {sentence}\n")
    return status
