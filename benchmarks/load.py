"""Latency under load: requests that arrive by chance, at 80 % of what the server can do, with 4 to 50 steps.

Two servers of the same repository take turns with the same arrivals: one chooses who goes next and how many share a
step, the other shares every step among all in flight.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from statistics import mean, quantiles
from typing import Any

from deploy.local import ON_FREE_PORTS, LocalTriton

from .open_loop import arrivals, capacity, send, service
from .options import Options
from .records import Measured
from .wide_checkpoint import SMALL_PX

_SHARE_ALL = {"INSTA_DEPTH_ROWS_PER_STEP": "16"}


def measure(options: Options, load: float, requests: int, rounds: int, is_wide: bool = False) -> Measured:
    """Compare the two servers at ``load`` of the capacity in ``rounds`` of ``requests``.

    ``is_wide``: with the repository whose steps take 200 ms and more.
    """
    repository = options.wide_repository if is_wide else options.repository
    shared: dict[str, Any] = {"face_image": options.face, "pose_image": options.pose, "prompt": "a woman"}
    if is_wide:
        shared["max_side"] = SMALL_PX
    with ExitStack() as stack:
        settings: tuple[dict[str, str], ...] = ({}, _SHARE_ALL)
        servers = [stack.enter_context(LocalTriton(repository, ON_FREE_PORTS, environment=each)) for each in settings]
        ways = [service(server.grpc_url, shared) for server in servers]
        capacities = [capacity(way) for way in ways]
        per_s = load * max(capacities)
        latencies_s: list[list[float]] = [[], []]
        for number in range(rounds):
            planned = list(arrivals(requests, seed=number))
            for index in (0, 1) if number % 2 else (1, 0):
                latencies_s[index] += send(ways[index], planned, per_s).latencies_s
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
