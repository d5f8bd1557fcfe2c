"""Stands between us and the server, and leaves nothing behind whatever happens to us.

Runs as a process of its own: it starts the server, and ends it when its standard input closes, which is
what happens when the process that started it stops it, ends or is killed. Afterwards it ends the stub
processes that are left and removes their regions in /dev/shm. Standard library only, so that it starts at once.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.1


def main() -> int:
    """Run the command after ``--``; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared-memory-prefix", required=True, help="names in /dev/shm to remove afterwards")
    parser.add_argument("--stop-timeout-s", type=float, required=True)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop_asked)
    try:
        return _run(arguments.command, arguments.stop_timeout_s)
    finally:
        _remove_shared_memory(arguments.shared_memory_prefix)


def _run(command: list[str], stop_timeout_s: float) -> int:
    # The server's output goes where our standard error goes: the log file.
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, preexec_fn=_die_with_parent
    )
    try:
        os.write(sys.stdout.fileno(), f"{server.pid}\n".encode())
        _wait(server)
    except (SystemExit, BrokenPipeError):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end(server, stop_timeout_s)
    return server.returncode


def _die_with_parent() -> None:
    """Have the kernel end the server should this guard be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop_asked(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


def _wait(server: "subprocess.Popen[bytes]") -> None:
    """Return when the server has ended or our standard input is closed."""
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
        if readable:
            return


def _end(server: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    server.terminate()
    try:
        server.wait(timeout_s)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    # What is left of the group is stubs that did not notice.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def _remove_shared_memory(prefix: str) -> None:
    for region in Path("/dev/shm").glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
