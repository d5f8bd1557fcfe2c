"""Requests that arrive by chance, whatever became of those before: the load that a public service has."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import numpy as np
from insta_depth import AsyncInstaDepth

from .progress import tell
from .records import Measured

STEPS = range(4, 51)
_IN_FLIGHT = 8
_CAPACITY_REQUESTS = 16
_TIMEOUT_S = 3600.0

Ask = Callable[[Mapping[str, Any]], Awaitable[object]]
"""A request's attributes → when it is answered."""
Connect = Callable[[], AbstractAsyncContextManager[Ask]]
"""Open a connection to a server."""


@dataclass(frozen=True)
class Arrival:
    """A request: seconds after the one before, and its attributes."""

    gap_s: float
    attributes: dict[str, Any]


def arrivals(count: int, seed: int) -> Iterator[Arrival]:
    """Poisson arrivals of one a second, guided, of 4 to 50 steps."""
    chance = random.Random(seed)
    for number in range(count):
        attributes = {"seed": number, "guidance_scale": 3.0, "num_inference_steps": chance.choice(STEPS)}
        yield Arrival(chance.expovariate(1), attributes)


def service(grpc_url: str, shared: Mapping[str, Any]) -> Connect:
    """Return how to reach this service; ``shared``: attributes of every request."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        async with AsyncInstaDepth(grpc_url, _TIMEOUT_S) as client:
            yield lambda attributes: client.generate(**shared, **attributes)

    return connect


@dataclass(frozen=True)
class Answered:
    """Latencies in seconds from when each request was due, and the time from the first's arrival to the last answer."""

    latencies_s: Sequence[float]
    span_s: float

    def percentiles(self) -> Measured:
        """Return p50, p90, p95, p99 and the mean."""
        return {**percentiles(self.latencies_s), "mean_s": float(np.mean(self.latencies_s))}

    def goodput_per_s(self, limit_s: float) -> float:
        """Return the pictures a second that took no longer than ``limit_s``."""
        return sum(latency <= limit_s for latency in self.latencies_s) / self.span_s


def percentiles(values_s: Sequence[float]) -> Measured:
    """Return p50, p90, p95 and p99."""
    at = quantiles(values_s, n=100, method="inclusive")
    return {f"p{percent}_s": at[percent - 1] for percent in (50, 90, 95, 99)}


def send(connect: Connect, planned: Sequence[Arrival], per_s: float) -> Answered:
    """Send each request when it is due at ``per_s`` a second; at most eight are at the server, the others in line.

    So a gateway holds them back, too.
    """
    return asyncio.run(_send(connect, planned, per_s))


async def _send(connect: Connect, planned: Sequence[Arrival], per_s: float) -> Answered:
    places, latencies_s = asyncio.Semaphore(_IN_FLIGHT), list[float]()
    async with connect() as ask_server:

        async def ask(due_s: float, attributes: dict[str, Any]) -> None:
            async with places:
                await ask_server(attributes)
            latencies_s.append(time.perf_counter() - due_s)
            tell(f"{len(latencies_s)} of {len(planned)} pictures")

        started_s = due_s = time.perf_counter()
        tasks = []
        for arrival in planned:
            due_s += arrival.gap_s / per_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(due_s, arrival.attributes)))
        await asyncio.gather(*tasks)
    return Answered(latencies_s, time.perf_counter() - started_s)


def capacity(connect: Connect) -> float:
    """Return requests a second where there are always eight, after as many to warm up."""
    at_once = [Arrival(0.0, each.attributes) for each in arrivals(_CAPACITY_REQUESTS, seed=0)]
    send(connect, at_once[:_IN_FLIGHT], per_s=1.0)
    return len(at_once) / send(connect, at_once, per_s=1.0).span_s
