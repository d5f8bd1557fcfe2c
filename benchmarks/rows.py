"""Every row that can be measured."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import batching, gateway, latency, load, overhead, plain_server, scaling, side_by_side, start
from .batching import Load
from .options import Options
from .records import Measured, Target

_SHARED_STEPS = Target("rows_share", at_least=0.85)
_CHEAP_ORCHESTRATION = Target("loop_ratio", at_most=1.10)
_SHORTER_WAITS = Target("mean_ratio", at_most=0.65)
_FASTER_THAN_EAGER = Target("service_to_eager", at_most=0.7)
_FASTER_THAN_PLAIN = Target("mean_ratio", at_most=0.7)
_CHEAP_GATEWAY = Target("added_median_ms", at_most=5)


@dataclass(frozen=True)
class Row:
    """One measurement, made in a process of its own."""

    benchmark: str
    name: str
    measure: Callable[[Options], Measured]
    target: Target | None = None


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
    *(
        Row(
            "plain-server",
            f"{load:.0%} of capacity, guidance 3, 4 to 50 steps".replace("%", " %"),
            partial(plain_server.measure, load=load, requests=60),
            _FASTER_THAN_PLAIN,
        )
        for load in (0.5, 0.8, 1.0, 1.2)
    ),
    Row(
        "latency",
        "100 requests, one after the other, guidance 3, 10 steps",
        partial(latency.measure, steps=10, requests=100),
    ),
    Row("start", "this service and the plain server", start.measure),
    Row("size", "1 request, guidance 3, 4 steps", partial(scaling.by_size, sides_px=(192, 256, 320, 384), steps=4)),
    Row("steps", "1 request, guidance 3", partial(scaling.by_steps, counts=(4, 10, 20, 50, 100))),
    Row("concurrency", "guidance 3, 10 steps", partial(scaling.by_concurrency, counts=(1, 2, 4, 8), steps=10)),
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
    Row(
        "side-by-side",
        "1 request, guidance 3, 4 steps of a second",
        partial(side_by_side.measure, steps=4, is_wide=True),
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
    Row(
        "gateway",
        "signed files, a server that answers at once",
        partial(
            gateway.measure,
            server=gateway.answering_at_once,
            way=gateway.Multipart,
            pairs_per_repeat=30,
            is_signed=True,
        ),
    ),
)


def named(benchmark: str, name: str) -> Row:
    """The row of that name."""
    return next(row for row in ROWS if (row.benchmark, row.name) == (benchmark, name))
