"""Every row that can be measured."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import batching, gateway, load, overhead, side_by_side
from .batching import Load
from .options import Options
from .records import Measured, Target

_SHARED_STEPS = Target("rows_share", at_least=0.85)
_CHEAP_ORCHESTRATION = Target("loop_ratio", at_most=1.10)
_SHORTER_WAITS = Target("mean_ratio", at_most=0.65)
_FASTER_THAN_EAGER = Target("service_to_eager", at_most=0.7)
_CHEAP_GATEWAY = Target("added_median_ms", at_most=5)


@dataclass(frozen=True)
class Row:
    """One measurement, made in a process of its own."""

    benchmark: str
    name: str
    measure: Callable[[Options], Measured]
    target: Target


def _alike(count: int, **attributes: float) -> list[dict[str, float]]:
    return [{"seed": index, **attributes} for index in range(count)]


def _mixed(count: int) -> list[dict[str, float]]:
    """Every second request unguided, each with a number of steps of its own."""
    return [
        {"seed": index, "guidance_scale": 1 + 2 * (index % 2), "num_inference_steps": 20 + 5 * index}
        for index in range(count)
    ]


ROWS = (
    Row(
        "batching",
        "8 requests, 50 ms apart, guidance 3, 10 steps",
        partial(batching.measure, load=Load(_alike(8, guidance_scale=3, num_inference_steps=10))),
        _SHARED_STEPS,
    ),
    Row(
        "batching",
        "8 requests, 50 ms apart, guidance 3, 50 steps",
        partial(batching.measure, load=Load(_alike(8, guidance_scale=3, num_inference_steps=50))),
        _SHARED_STEPS,
    ),
    Row(
        "batching",
        "8 requests, 50 ms apart, guidance 1 and 3, 20 to 55 steps",
        partial(batching.measure, load=Load(_mixed(8))),
        _SHARED_STEPS,
    ),
    Row(
        "load",
        "80 % of capacity, guidance 3, 4 to 50 steps",
        partial(load.measure, load=0.8, requests=60, rounds=2),
        _SHORTER_WAITS,
    ),
    Row(
        "load",
        "80 % of capacity, guidance 3, 4 to 50 steps of 200 ms",
        partial(load.measure, load=0.8, requests=40, rounds=1, is_wide=True),
        _SHORTER_WAITS,
    ),
    Row(
        "overhead",
        "1 request, guidance 3, 10 steps",
        partial(overhead.measure, steps=10, guidance_scale=3.0),
        _CHEAP_ORCHESTRATION,
    ),
    Row(
        "side-by-side",
        "1 request, guidance 3, 10 steps",
        partial(side_by_side.measure, steps=10),
        _FASTER_THAN_EAGER,
    ),
    *(
        Row(
            "gateway",
            f"{way_name}, {server_name}",
            partial(gateway.measure, server=server, way=way, pairs_per_repeat=pairs_per_repeat),
            _CHEAP_GATEWAY,
        )
        for server_name, server, pairs_per_repeat in (
            ("Triton, 4 steps", gateway.triton, 24),
            ("a server that answers at once", gateway.answering_at_once, 30),
        )
        for way_name, way in (("files", gateway.Multipart), ("base64", gateway.Json))
    ),
)


def named(benchmark: str, name: str) -> Row:
    """The row of that name."""
    return next(row for row in ROWS if (row.benchmark, row.name) == (benchmark, name))
