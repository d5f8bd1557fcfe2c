"""How many pictures a GPU makes, and how long they take, simulated with the service's own policy."""

import bisect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from export.in_process import import_models_of

from .simulation import ROWS, KnownTimes, Server, SimulatedJob, arrivals, simulate

_MODELS = Path(__file__).resolve().parent.parent / "model_repository"
_REQUESTS, _WARM_UP = 12_000, 1_000
_MOST_GPUS = 10_000
_HIGHEST_LOAD = 0.95
"""Of saturation; closer to it a queue takes hours to show how long it gets."""


class CapacityError(ValueError):
    """What was asked for cannot be had; the text says why."""


@dataclass(frozen=True)
class Work:
    """One request on one GPU: seconds of a step alone, of which ``row_share`` comes again with each other request."""

    steps: int
    step_s: float
    row_share: float
    fixed_s: float
    max_requests: int

    @property
    def server(self) -> Server:
        """The GPU, as the simulation takes it."""
        return Server(self.row_share, self.step_s, self.fixed_s, self.max_requests)

    @property
    def alone_s(self) -> float:
        """A picture's time on an idle GPU."""
        return self.steps * self.step_s + self.fixed_s

    @property
    def saturation(self) -> float:
        """Pictures a second if every step is shared by as many as are admitted: no load may reach it."""
        return self.server.saturation(self.steps)


@dataclass(frozen=True)
class Queue:
    """One GPU under a load, as simulated; ``calls``: of ``denoise_step``, for all ``jobs``."""

    work: Work
    images_per_s: float
    jobs: Sequence[SimulatedJob]
    calls: float

    @property
    def rows_per_call(self) -> float:
        """Mean over the calls."""
        return ROWS * self.work.steps * len(self.jobs) / self.calls

    @property
    def mean_latency_s(self) -> float:
        """Mean over the requests."""
        return fmean(self._latencies_s)

    @property
    def refused_share(self) -> float:
        """Requests that find the limit reached: they wait in a gateway's line, or Triton refuses them."""
        return fmean(job.met_limit for job in self.jobs)

    def latency_s(self, percentile: float) -> float:
        """The time that so many of 100 requests stay below."""
        return self._latencies_s[int(percentile / 100 * len(self._latencies_s))]

    @cached_property
    def _latencies_s(self) -> list[float]:
        return sorted(job.latency for job in self.jobs)


def queue(work: Work, images_per_s: float) -> Queue:
    """Return one GPU under ``images_per_s``; raises `CapacityError` where it cannot keep up."""
    if images_per_s > _HIGHEST_LOAD * work.saturation:
        most = _HIGHEST_LOAD * work.saturation
        raise CapacityError(
            f"{images_per_s:g} pictures a second are more than {most:.3g}, {_HIGHEST_LOAD:.0%} of what a GPU can make"
        )
    times = KnownTimes(work.server)
    jobs = simulate(
        work.server, list(arrivals(images_per_s, _REQUESTS, seed=1, steps=[work.steps])), _sharing(work, times)
    )
    counted = jobs[_WARM_UP:]
    return Queue(work, images_per_s, counted, times.calls * len(counted) / len(jobs))


def _sharing(work: Work, times: Any) -> Any:
    if "denoising" not in sys.modules:
        import_models_of(_MODELS)
    from denoising.sharing import Sharing

    return Sharing(ROWS * work.max_requests, times=times)


@dataclass(frozen=True)
class Fleet:
    """As many GPUs as a load needs, each a server of its own with an equal part of the load."""

    needed: int
    spare: int
    each: Queue

    @property
    def gpus(self) -> int:
        """Those needed and those to spare, which are paid for, too."""
        return self.needed + self.spare


def fleet(work: Work, images_per_s: float, p95_s: float, spare: int = 0) -> Fleet:
    """Return the smallest fleet that keeps the target; raises `CapacityError` where none can."""
    if work.alone_s > p95_s:
        raise CapacityError(f"one picture alone takes {work.alone_s:.1f} s, above the target {p95_s:g} s")
    queues: dict[int, Queue] = {}

    def keeps(gpus: int) -> bool:
        queues[gpus] = queue(work, images_per_s / gpus)
        return queues[gpus].latency_s(95) <= p95_s

    fewest = enough = int(images_per_s / (_HIGHEST_LOAD * work.saturation)) + 1
    while not keeps(enough):
        enough *= 2
        if enough > _MOST_GPUS:
            raise CapacityError(f"not even {_MOST_GPUS} GPUs keep {p95_s:g} s at {images_per_s:g} pictures a second")
    needed = fewest + bisect.bisect_left(range(fewest, enough), True, key=keeps)
    return Fleet(needed, spare, queues[needed])
