"""One whole request made in every way: PyTorch eager, compiled, the engines in one process, the service.

All sides have the same weights and get the same requests in turns, each request with pictures and words of its own so
that no cache answers.
"""

import io
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median

import numpy as np
import torch
from insta_depth import InstaDepth
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from deploy.local import ON_FREE_PORTS, LocalTriton
from export.in_process import import_models_of

from .gpu_check.chips import measured_tflops
from .options import Options
from .progress import tell
from .records import Measured
from .sides import Request, Side, choose_threads, in_one_process, in_torch, request_of, seconds

_TIMEOUT_S = 1800.0


def measure(options: Options, steps: int, is_wide: bool = False) -> Measured:
    """Time every side ``options.repeats`` times, after one picture each to warm up, which are compared.

    ``is_wide``: with the checkpoint whose largest pictures take about a second a step.
    """
    checkpoint, repository = options.checkpoint, options.repository
    if is_wide:
        checkpoint, repository = options.wide_checkpoint, options.wide_repository
    import_models_of(repository)
    with ExitStack() as stack:
        server = stack.enter_context(LocalTriton(repository, ON_FREE_PORTS))
        client = stack.enter_context(InstaDepth(server.grpc_url, _TIMEOUT_S))
        sides: dict[str, Side] = {
            "eager": in_torch(repository, checkpoint),
            "engines": in_one_process(repository),
            "service": lambda request: client.generate(**request).image,
        }
        if shutil.which("g++"):
            sides["compiled"] = in_torch(repository, checkpoint, is_compiled=True)
        warm = request_of(options, steps, 0)
        pictures = {name: _first(name, side, warm) for name, side in sides.items()}
        most = torch.get_num_threads()
        threads = choose_threads(sides["eager"], warm)
        times_s = in_turns(sides, [request_of(options, steps, 1 + index) for index in range(options.repeats)])
    gflop = _gflop(sides["eager"], warm)
    return summary(times_s, gflop, _matmul_gflops([most, 1])) | {
        "torch_threads": threads,
        "difference_to_eager": max(largest_difference(pictures["eager"], other) for other in pictures.values()),
    }


def _first(name: str, side: Side, request: Request) -> bytes:
    tell(f"first picture, {name}")
    return side(request)


def in_turns(sides: Mapping[str, Side], requests: Sequence[Request]) -> dict[str, list[float]]:
    """Return seconds of each request by side; each round begins with another one."""
    times_s: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number, request in enumerate(requests):
        tell(f"round {number + 1} of {len(requests)}")
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times_s[name].append(seconds(sides[name], request))
    return times_s


def _gflop(eager: Side, request: Request) -> float:
    """Return the arithmetic of one request: matrix products and convolutions, a multiply-add being two."""
    with FlopCounterMode(display=False) as counter:
        eager(request)
    return counter.get_total_flops() / 1e9


def _matmul_gflops(threads: Sequence[int]) -> float:
    """Return the rate of a large matrix product, with the best of these numbers of threads."""
    rates = []
    for count in threads:
        torch.set_num_threads(count)
        rates.append(1e3 * measured_tflops(torch.device("cpu"), torch.float32))
    return max(rates)


def summary(times_s: Mapping[str, Sequence[float]], gflop: float, matmul_gflops: float) -> Measured:
    """Compare the sides: ratios are medians over the rounds, in which all made the same picture."""
    middle = {name: median(times) for name, times in times_s.items()}

    def ratio(name: str, other: str) -> float:
        return median(a / b for a, b in zip(times_s[name], times_s[other], strict=True))

    return {
        "service_to_eager": ratio("service", "eager"),
        "service_to_engines": ratio("service", "engines"),
        **({"compiled_to_eager": ratio("compiled", "eager")} if "compiled" in times_s else {}),
        **{f"{name}_s": middle_s for name, middle_s in middle.items()},
        "gflop": gflop,
        "service_gflops": gflop / middle["service"],
        "matmul_gflops": matmul_gflops,
        "service_share_of_matmul": gflop / middle["service"] / matmul_gflops,
    }


def largest_difference(first: bytes, second: bytes) -> int:
    """Return the largest difference between two picture files, in levels of 255."""
    a, b = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16) for data in (first, second))
    return int(np.abs(a - b).max())
