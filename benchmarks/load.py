"""Latency under load: requests that arrive by chance, at 80 % of what the server can do, with 4 to 50 steps.

Two servers of the same repository take turns with the same arrivals: one chooses who goes next and how many share a
step, the other shares every step among all in flight. As in front of both a gateway would, at most eight requests are
at the server, and the others wait in the order of their arrival.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import mean, quantiles
from typing import Any

from insta_depth import AsyncInstaDepth

from deploy.local import ON_FREE_PORTS, LocalTriton

from .options import Options
from .records import Measured

STEPS = range(4, 51)
_IN_FLIGHT = 8
_SHARE_ALL = {"INSTA_DEPTH_ROWS_PER_STEP": "16"}
_CAPACITY_REQUESTS = 16
_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Arrival:
    """A request: seconds after the one before, and its attributes."""

    gap_s: float
    attributes: dict[str, Any]


def arrivals(count: int, seed: int) -> Iterator[Arrival]:
    """Poisson arrivals of one a second."""
    chance = random.Random(seed)
    for number in range(count):
        attributes = {"seed": number, "guidance_scale": 3.0, "num_inference_steps": chance.choice(STEPS)}
        yield Arrival(chance.expovariate(1), attributes)


def measure(options: Options, load: float, requests: int, rounds: int, is_wide: bool = False) -> Measured:
    """Compare the two servers at ``load`` of the capacity in ``rounds`` of ``requests``.

    ``is_wide``: with the repository whose steps take 200 ms and more.
    """
    repository = options.wide_repository if is_wide else options.repository
    pictures = {"face_image": options.face, "pose_image": options.pose, "prompt": "a woman"}
    with ExitStack() as stack:
        settings: tuple[dict[str, str], ...] = ({}, _SHARE_ALL)
        servers = [stack.enter_context(LocalTriton(repository, ON_FREE_PORTS, environment=each)) for each in settings]
        capacities = [_capacity(server.grpc_url, pictures) for server in servers]
        per_s = load * max(capacities)
        latencies_s: list[list[float]] = [[], []]
        for number in range(rounds):
            planned = list(arrivals(requests, seed=number))
            for index in (0, 1) if number % 2 else (1, 0):
                latencies_s[index] += asyncio.run(_open_loop(servers[index].grpc_url, pictures, planned, per_s))
    return _summary(*latencies_s) | {"requests_per_s": per_s, "capacity_ratio": capacities[0] / capacities[1]}


def _summary(chosen_s: Sequence[float], shared_s: Sequence[float]) -> Measured:
    p95_s = [quantiles(latencies, n=20)[-1] for latencies in (chosen_s, shared_s)]
    return {
        "mean_ratio": mean(chosen_s) / mean(shared_s),
        "p95_ratio": p95_s[0] / p95_s[1],
        "mean_latency_s": mean(chosen_s),
        "p50_s": quantiles(chosen_s, n=2)[0],
        "p95_s": p95_s[0],
        "longest_s": max(chosen_s),
        "longest_where_all_share_s": max(shared_s),
    }


def _capacity(grpc_url: str, pictures: dict[str, Any]) -> float:
    """Requests a second where there are always eight, after as many to warm up."""
    at_once = [Arrival(0.0, each.attributes) for each in arrivals(_CAPACITY_REQUESTS, seed=0)]
    asyncio.run(_open_loop(grpc_url, pictures, at_once[:_IN_FLIGHT], per_s=1.0))
    started_s = time.perf_counter()
    asyncio.run(_open_loop(grpc_url, pictures, at_once, per_s=1.0))
    return len(at_once) / (time.perf_counter() - started_s)


async def _open_loop(grpc_url: str, pictures: dict[str, Any], planned: Sequence[Arrival], per_s: float) -> list[float]:
    """Send each request when it is due, whatever became of the others; return the latencies in seconds."""
    places, latencies_s = asyncio.Semaphore(_IN_FLIGHT), list[float]()
    async with AsyncInstaDepth(grpc_url, _TIMEOUT_S) as client:

        async def ask(due_s: float, attributes: dict[str, Any]) -> None:
            async with places:
                await client.generate(**pictures, **attributes)
            latencies_s.append(time.perf_counter() - due_s)

        due_s, tasks = time.perf_counter(), []
        for arrival in planned:
            due_s += arrival.gap_s / per_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(due_s, arrival.attributes)))
        await asyncio.gather(*tasks)
    return latencies_s
