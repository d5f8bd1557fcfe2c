"""Supervises the server and cleans up after it, even if our process is killed.

It runs as a separate process: it starts the server, and ends it when its standard input closes, which happens when its
parent stops it, exits or is killed. Then it ends the remaining stub processes and removes their regions in /dev/shm. It
uses only the standard library, to start at once.

It also restarts the server when a model's process dies: Triton 2.51 would neither end that process's requests nor start
another one, and would still report ready.
"""

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.1
_MOST_STARTS = 100
"""Give up on a server that keeps losing a process. Each start takes seconds, so this is no busy loop."""


def main() -> int:
    """Run the command after ``--``; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared-memory-prefix", required=True, help="names in /dev/shm to remove afterwards")
    parser.add_argument("--stop-timeout-s", type=float, required=True)
    parser.add_argument("--address", nargs=2, required=True, help="host and port that it opens when all is loaded")
    parser.add_argument("--links", type=Path, help="folder to remove afterwards, with the links in it")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    try:
        return _run_with_restarts(arguments)
    finally:
        if arguments.links:
            shutil.rmtree(arguments.links, ignore_errors=True)


def _run_with_restarts(arguments: argparse.Namespace) -> int:
    """Run the command until it exits or is told to; restart it if a model's process has died."""
    host, port = arguments.address
    for _ in range(_MOST_STARTS):
        try:
            return _run(arguments.command, arguments.stop_timeout_s, (host, int(port)))
        except StubDied as died:
            _say(f"the process of {died} has died; the server starts anew")
        finally:
            _remove_shared_memory(arguments.shared_memory_prefix)
    _say(f"gave up after {_MOST_STARTS} starts")
    return 1


class StubDied(Exception):
    """A model's process died; the server does not replace it."""


def _say(message: str) -> None:
    print(f"guard: {message}", file=sys.stderr, flush=True)  # noqa: T201 - standard error is the log file


def _run(command: list[str], stop_timeout_s: float, address: tuple[str, int]) -> int:
    # Before the start: the server would inherit ignored signals.
    signal.signal(signal.SIGTERM, _stop_asked)
    # The server's output goes to our standard error: the log file.
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, preexec_fn=_die_with_parent
    )
    try:
        os.write(sys.stdout.fileno(), f"{server.pid}\n".encode())
        _wait(server, address)
    except (SystemExit, BrokenPipeError):
        pass
    except StubDied:
        server.kill()  # at once, so that its pending requests end with an error
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end(server, stop_timeout_s)
    return server.returncode


def _die_with_parent() -> None:
    """Let the kernel end the server if this guard is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop_asked(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


def _wait(server: "subprocess.Popen[bytes]", address: tuple[str, int]) -> None:
    """Return when the server has ended or our standard input is closed; raises `StubDied`.

    Stubs are checked only while the server listens: they come and go while it loads and stops.
    """
    stubs: dict[int, str] = {}
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
        if readable:
            return
        if not stubs and _is_open(address):
            stubs = {pid: _name(pid) for pid in _children(server.pid)}
        for pid, name in stubs.items():
            if _has_ended(pid) and _is_open(address):
                raise StubDied(name)


def _is_open(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


def _children(pid: int) -> set[int]:
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _state(int(path.name))[1] == pid}


def _has_ended(pid: int) -> bool:
    return _state(pid)[0] in ("", "Z")


def _state(pid: int) -> tuple[str, int]:
    """Return the state letter and the parent of a process; no letter if it is gone."""
    try:
        # The name before them, in parentheses, may contain anything.
        state, parent = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
        )
    except (OSError, ValueError):
        return "", 0
    return state, int(parent)


def _name(pid: int) -> str:
    """The stub's model: its first argument is ``<repository>/<model>/<version>/model.py``."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return str(pid)
    return arguments[1] if len(arguments) > 1 else str(pid)


def _end(server: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    server.terminate()
    try:
        server.wait(timeout_s)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    # The rest of the group are stubs that are still running.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def _remove_shared_memory(prefix: str) -> None:
    for region in Path("/dev/shm").glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
