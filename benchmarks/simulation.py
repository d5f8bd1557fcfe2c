"""Requests that arrive by chance at a step batcher whose calls take a known time: what a policy does, without a server.

It runs the service's own choice of who goes next, `denoising.sharing`.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

ROWS = 2
"""A guided request's rows in a call."""


@dataclass
class SimulatedJob:
    """A guided request with ``steps_left`` steps; times in seconds, work in steps."""

    arrived: float
    steps_left: int
    work_before: float = 0.0
    row_count: int = ROWS
    step_work: float = 1.0
    shape_key: tuple[int, ...] = field(default=(1,))
    met_limit: bool = False
    latency: float = 0.0
    ended_at_work: float = 0.0

    @property
    def work_left(self) -> float:
        """Steps to come."""
        return self.steps_left * self.step_work


@dataclass(frozen=True)
class Server:
    """A call of n requests takes ``step_s`` × (1 − ``row_share`` + ``row_share`` × n).

    ``outside_s``: the processor's time for a request outside its steps; ``max_requests``: the admission limit.
    """

    row_share: float
    step_s: float = 1.0
    outside_s: float = 0.0
    max_requests: int = 8

    def call_s(self, requests: float) -> float:
        """Seconds of one call."""
        return self.step_s * (1 - self.row_share + self.row_share * requests)

    def saturation(self, steps: float) -> float:
        """Requests a second, of so many steps on average, if every call is as large as can be."""
        together = self.max_requests
        return together / (steps * self.call_s(together) + together * self.outside_s)


class KnownTimes:
    """In place of `denoising.sharing.CallTimes`: there is nothing to learn."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.calls = 0

    def observe(self, shape_key: tuple[int, ...], rows: int, seconds: float) -> None:
        """Count the call."""
        self.calls += 1

    def are_known(self, shape_key: tuple[int, ...], rows: range, fewest: int, within_calls: int) -> bool:
        """Everything is."""
        return True

    def estimate_s(self, shape_key: tuple[int, ...], row_counts: Sequence[int]) -> list[float]:
        """Return the seconds of a call for each of ``row_counts``."""
        return [self._server.call_s(rows / ROWS) for rows in row_counts]


def arrivals(per_s: float, count: int, seed: int, steps: Sequence[int]) -> Iterator[SimulatedJob]:
    """Poisson arrivals of requests with as many steps as one of ``steps``."""
    chance, now = random.Random(seed), 0.0
    for _ in range(count):
        now += chance.expovariate(per_s)
        yield SimulatedJob(now, chance.choice(steps))


def simulate(server: Server, jobs: Sequence[SimulatedJob], sharing: Any, noise: float = 0.0) -> list[SimulatedJob]:
    """Run ``jobs``, in the order of their arrival, to their ends, and return them with their latencies.

    ``sharing``: a `denoising.sharing.Sharing`; ``noise``: relative deviation of a call's time. What a request needs
    outside its steps holds up the call in which it ends. Requests beyond the admission limit wait in a line.
    """
    chance, now = random.Random(0), 0.0
    coming, in_flight, ended = list(reversed(jobs)), list[SimulatedJob](), list[SimulatedJob]()
    while coming or in_flight:
        if not in_flight:
            now = max(now, coming[-1].arrived)
        while coming and coming[-1].arrived <= now and len(in_flight) < server.max_requests:
            in_flight.append(coming.pop())
            in_flight[-1].work_before = sharing.work_done
        for job in takewhile(lambda job: job.arrived <= now, reversed(coming)):  # noqa: B023
            job.met_limit = True
        call = sharing.next_call(sharing.ordered(in_flight))
        call_s = server.call_s(len(call)) * max(0.1, chance.gauss(1, noise))
        sharing.called(sharing.call_of(call), call_s)
        now += call_s
        for job in call:
            job.steps_left -= 1
            if job.steps_left == 0:
                now += server.outside_s
                job.latency, job.ended_at_work = now - job.arrived, sharing.work_done
                in_flight.remove(job)
                ended.append(job)
    return ended
