"""How a picture's time grows with its size, its steps, and with the requests beside it."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

from insta_depth import Generation, InstaDepth

from deploy.local import ON_FREE_PORTS, LocalTriton

from .batching import send
from .options import Options
from .progress import tell
from .records import Measured
from .sides import request_of, seconds

_TIMEOUT_S = 1800.0


def by_size(options: Options, sides_px: Sequence[int], steps: int) -> Measured:
    """Time a step of the wide checkpoint by ``max_side``."""

    def step_ms(client: InstaDepth, side_px: int, number: int) -> float:
        generation = client.generate(**request_of(options, steps, number, max_side=side_px))
        return generation.timings["denoise"] / steps

    found = _medians(options, sides_px, step_ms, is_wide=True)
    most, least = max(sides_px), min(sides_px)
    pixels_ratio = (most / least) ** 2
    return {
        "time_to_pixels": found[most] / found[least] / pixels_ratio,
        **{f"step_ms_at_{side_px}_px": found[side_px] for side_px in sides_px},
    }


def by_steps(options: Options, counts: Sequence[int]) -> Measured:
    """Time a picture by its number of steps."""

    def took_s(client: InstaDepth, steps: int, number: int) -> float:
        return seconds(lambda request: client.generate(**request).image, request_of(options, steps, number))

    found = _medians(options, counts, took_s)
    most, least = max(counts), min(counts)
    step_s = (found[most] - found[least]) / (most - least)
    return {
        "step_ms": 1000 * step_s,
        "outside_steps_ms": 1000 * (found[least] - least * step_s),
        **{f"s_at_{count}": found[count] for count in counts},
    }


def by_concurrency(options: Options, counts: Sequence[int], steps: int) -> Measured:
    """Count pictures a second with so many callers, each of whom asks again at once (``options.repeats`` times)."""
    found: dict[int, float] = {}
    with LocalTriton(options.repository, ON_FREE_PORTS) as server, InstaDepth(server.grpc_url, _TIMEOUT_S) as client:
        client.generate(**request_of(options, steps, 0))
        for count in counts:
            tell(f"{count} at once")
            found[count] = _pictures_per_s(options, client, count, steps)
    return {
        "most_to_one": found[max(counts)] / found[min(counts)],
        **{f"pictures_per_s_at_{count}": found[count] for count in counts},
    }


def _pictures_per_s(options: Options, client: InstaDepth, count: int, steps: int) -> float:
    made = list[Generation]()
    started = perf_counter()
    for repeat in range(options.repeats):
        first = 1 + repeat * count
        made += send(client, [request_of(options, steps, first + index) for index in range(count)], gap_s=0)
    return len(made) / (perf_counter() - started)


def _medians(
    options: Options, points: Sequence[int], measure: Callable[[InstaDepth, int, int], float], is_wide: bool = False
) -> dict[int, float]:
    """Measure every point ``options.repeats`` times, in turns, after once to warm up."""
    repository = options.wide_repository if is_wide else options.repository
    values: dict[int, list[float]] = {point: [] for point in points}
    with LocalTriton(repository, ON_FREE_PORTS) as server, InstaDepth(server.grpc_url, _TIMEOUT_S) as client:
        for repeat in range(options.repeats + 1):
            tell(f"round {repeat} of {options.repeats}")
            for place, point in enumerate(points):
                value = measure(client, point, repeat * len(points) + place)
                if repeat:
                    values[point].append(value)
    return {point: median(each) for point, each in values.items()}
