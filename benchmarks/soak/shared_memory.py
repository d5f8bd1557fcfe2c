"""A small /dev/shm of the soak's own, which can be filled without taking the machine's memory."""

import os
import subprocess
from collections.abc import Sequence

_SIZE = "1g"
_IS_INSIDE = "INSTA_DEPTH_SOAK_HAS_OWN_SHARED_MEMORY"
_MOUNT = f"mount -t tmpfs -o size={_SIZE} tmpfs /dev/shm"


def enter_own(command: Sequence[str]) -> None:
    """Run ``command`` in place of this process, in a mount namespace where /dev/shm is small and its own.

    Return where this is that process, or where the system refuses such a namespace.
    """
    inside = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", "sh", "-c"]
    if _IS_INSIDE in os.environ or not _succeeds([*inside, _MOUNT]):
        return
    os.environ[_IS_INSIDE] = "1"
    os.execvp("unshare", [*inside, f'{_MOUNT} && exec "$@"', "sh", *command])


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False
