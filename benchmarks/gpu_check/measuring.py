"""Time and memory of something that runs on a device."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from types import TracebackType

import psutil
import torch

GIB = 2**30
_SAMPLE_S = 0.02


def times_ms(run: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Milliseconds of each of ``repeats`` runs, each from an idle device to an idle device."""
    times = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        run()
        synchronize(device)
        times.append(1e3 * (time.perf_counter() - started))
    return times


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has nothing to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(times: Sequence[float]) -> dict[str, float | int | str]:
    """Median and extremes, by the names that records use."""
    return {"step_ms": median(times), "lowest_ms": min(times), "highest_ms": max(times)}


@dataclass
class MemoryWatch:
    """How much more memory than at its beginning was in use at the worst moment of its block, over all processes.

    On a GPU this counts what the driver counts: this process's weights, arenas and workspaces and, through Triton,
    those of the server and its stubs with their CUDA contexts. On a CPU it is the resident memory of this
    process and its children.
    """

    device: torch.device
    peak_gib: float = 0.0

    def __enter__(self) -> "MemoryWatch":
        self._before = used_bytes(self.device)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._look()

    def _sample(self) -> None:
        while not self._is_over.wait(_SAMPLE_S):
            self._look()

    def _look(self) -> None:
        self.peak_gib = max(self.peak_gib, (used_bytes(self.device) - self._before) / GIB)


def used_bytes(device: torch.device) -> int:
    """Memory in use: of the whole GPU, or of this process and its children."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total - free
    own = psutil.Process(os.getpid())
    return sum(_resident_bytes(process) for process in (own, *own.children(recursive=True)))


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
