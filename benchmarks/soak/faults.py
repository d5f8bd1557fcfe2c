"""What goes wrong, one after the other; each returns once it is done, and what had to be restarted has been."""

import errno
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from .processes import model_process
from .system import System

_HOLDS_S = 5.0
_SHARED_MEMORY = Path("/dev/shm")
_LEFT_BYTES = 1 << 20


class NotHere(Exception):
    """A fault that cannot be had on this machine; the text says why."""


@dataclass(frozen=True)
class Fault:
    """``do`` makes it happen; ``recovery_s``: the next picture is to come by then, counted from its end."""

    name: str
    do: Callable[[System], None]
    recovery_s: float = 15.0


def kill_model(system: System, model: str) -> None:
    """Kill the process of a model: the guard starts the server anew."""
    model_process(system.triton.pid, model).send_signal(signal.SIGKILL)


def kill_server(system: System) -> None:
    """Kill ``tritonserver`` itself, and start it as a supervisor would."""
    psutil.Process(system.triton.pid).send_signal(signal.SIGKILL)
    restart_server(system)


def restart_server(system: System) -> None:
    """Stop Triton and start it at the same address, under a gateway that stays."""
    system.triton.stop()
    system.triton.start()


def kill_gateway(system: System) -> None:
    """Kill the gateway and start it anew: what it held is returned when its leases end."""
    system.end_gateway(signal.SIGKILL)
    system.start_gateway()


def take_database_away(system: System) -> None:
    """Let nobody use the accounts for a while."""
    with system.database.away():
        time.sleep(_HOLDS_S)


def fill_disk(system: System) -> None:
    """Let no file of the gateway grow for a while, its accounts and its log among them."""
    gateway = system.gateway()
    usual = gateway.rlimit(resource.RLIMIT_FSIZE)
    gateway.rlimit(resource.RLIMIT_FSIZE, (0, usual[1]))
    time.sleep(_HOLDS_S)
    gateway.rlimit(resource.RLIMIT_FSIZE, usual)


def fill_shared_memory(system: System) -> None:
    """Leave a mebibyte of /dev/shm, by which Triton and its models exchange tensors, for a while.

    Triton is started anew before: what it has taken of /dev/shm in earlier requests would do for the next ones.
    """
    restart_server(system)
    free = shutil.disk_usage(_SHARED_MEMORY).free
    if free > psutil.virtual_memory().available / 2:
        raise NotHere(f"/dev/shm has {free >> 20} MiB free, more than half of the memory: filling it would take that")
    path = _SHARED_MEMORY / f"insta_depth_soak_{os.getpid()}"
    try:
        with path.open("wb") as file:
            _fill(file.fileno())
        time.sleep(_HOLDS_S)
    finally:
        path.unlink(missing_ok=True)


def _fill(file: int) -> None:
    """Take all but `_LEFT_BYTES` of /dev/shm, of which others take meanwhile."""
    size = 0
    while (more := shutil.disk_usage(_SHARED_MEMORY).free - _LEFT_BYTES) > 0:
        try:
            os.posix_fallocate(file, size, more)
            size += more
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def faults(system: System) -> list[Fault]:
    """Return all of them, in the order in which they are made."""
    return [
        *(Fault(f"{model} killed", partial(kill_model, model=model)) for model in _with_processes(system)),
        Fault("tritonserver killed", kill_server),
        Fault("Triton restarted", restart_server),
        Fault("gateway killed", kill_gateway),
        Fault("database away", take_database_away),
        Fault("gateway's disk full", fill_disk),
        Fault("shared memory full", fill_shared_memory),
    ]


def _with_processes(system: System) -> list[str]:
    commands = [" ".join(child.cmdline()) for child in psutil.Process(system.triton.pid).children(recursive=True)]
    return [model for model in system.triton.models if any(f"/{model}/" in command for command in commands)]
