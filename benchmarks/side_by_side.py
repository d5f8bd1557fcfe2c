"""One whole request made in every way: PyTorch eager, compiled, the engines in one process, the service.

All sides have the same weights and get the same requests in turns, each request with pictures and words of its own so
that no cache answers. PyTorch runs the modules that were exported, in the published pipeline's order; faces are found
by ONNX Runtime on every side, as insightface does.
"""

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from insta_depth import InstaDepth
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from deploy.local import ON_FREE_PORTS, LocalTriton
from export.checkpoint import Checkpoint
from export.engines import PUBLISHED_AS_ONNX, ROW_OF, step_engine_names
from export.facts import read_facts
from export.in_process import Arrays, InProcess, RunEngine, generate, import_models_of, make_pipeline, onnx_engine
from export.precision import Precision

from .gpu_check.chips import measured_tflops
from .options import Options
from .records import Measured

_TIMEOUT_S = 1800.0
Request = Mapping[str, Any]
Side = Callable[[Request], bytes]
"""A request's attributes → the picture's file."""


def measure(options: Options, steps: int) -> Measured:
    """Time every side ``options.repeats`` times, after one picture each to warm up, which are compared."""
    import_models_of(options.repository)
    with ExitStack() as stack:
        server = stack.enter_context(LocalTriton(options.repository, ON_FREE_PORTS))
        client = stack.enter_context(InstaDepth(server.grpc_url, _TIMEOUT_S))
        sides: dict[str, Side] = {
            "eager": in_torch(options),
            "engines": in_one_process(options.repository, onnx_engine),
            "service": lambda request: client.generate(**request).image,
        }
        if shutil.which("g++"):
            sides["compiled"] = in_torch(options, is_compiled=True)
        warm = request_of(options, steps, 0)
        pictures = {name: side(warm) for name, side in sides.items()}
        most = torch.get_num_threads()
        threads = _choose_threads(sides["eager"], warm)
        times_s = in_turns(sides, [request_of(options, steps, 1 + index) for index in range(options.repeats)])
    gflop = _gflop(sides["eager"], warm)
    return summary(times_s, gflop, _matmul_gflops([most, 1])) | {
        "torch_threads": threads,
        "difference_to_eager": max(_difference(pictures["eager"], other) for other in pictures.values()),
    }


def request_of(options: Options, steps: int, number: int) -> dict[str, Any]:
    """Return a guided request that differs from every other in its seed, words and one pixel of each picture."""
    return {
        "prompt": f"Photo of a woman, number {number}",
        "face_image": _marked(options.face, number),
        "pose_image": _marked(options.pose, number),
        "num_inference_steps": steps,
        "guidance_scale": 3.0,
        "seed": number,
        "output_format": "png",
    }


def _marked(picture: bytes, number: int) -> bytes:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.putpixel((0, 0), (number % 256, number // 256, 0))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def in_one_process(repository: Path, open_engine: Callable[[Path], RunEngine]) -> Side:
    """Return the repository's own pipeline over engines as ``open_engine`` opens them."""
    pipeline = make_pipeline(repository, InProcess(repository, open_engine))
    return lambda request: bytes(generate(pipeline, request).image)


def in_torch(options: Options, is_compiled: bool = False) -> Side:
    """Return the same pipeline over PyTorch modules; ``is_compiled``: those of the step by ``torch.compile``."""
    checkpoint = Checkpoint.at(options.pictures.parent)
    facts = read_facts(checkpoint)
    compiled = step_engine_names() if is_compiled else ()

    def open_module(version: Path) -> RunEngine:
        name = version.parent.name
        if name in PUBLISHED_AS_ONNX:
            return onnx_engine(version)
        row = ROW_OF[name]
        module: Callable[..., Any] = row.module(checkpoint, facts, Precision.FP32)
        if name in compiled:
            module = torch.compile(module, dynamic=False)
        engine = row.engine(facts)

        @torch.inference_mode()
        def run(inputs: Arrays, outputs: Sequence[str]) -> Arrays:
            made = module(*(torch.from_numpy(inputs[tensor.name]) for tensor in engine.inputs))
            made = made if isinstance(made, tuple) else (made,)
            by_name = dict(zip((tensor.name for tensor in engine.outputs), made, strict=True))
            return {output: by_name[output].numpy() for output in outputs}

        return run

    return in_one_process(options.repository, open_module)


def _choose_threads(eager: Side, request: Request) -> int:
    """Set and return PyTorch's faster number of threads: where two processors share a core, one is faster than two."""
    most = torch.get_num_threads()
    times_s = {}
    for count in dict.fromkeys((most, 1)):
        torch.set_num_threads(count)
        times_s[count] = min(_seconds(eager, request) for _ in range(2))
    fastest = min(times_s, key=lambda count: times_s[count])
    torch.set_num_threads(fastest)
    return fastest


def _seconds(side: Side, request: Request) -> float:
    started = perf_counter()
    side(request)
    return perf_counter() - started


def in_turns(sides: Mapping[str, Side], requests: Sequence[Request]) -> dict[str, list[float]]:
    """Return seconds of each request by side; each round begins with another one."""
    times_s: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number, request in enumerate(requests):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times_s[name].append(_seconds(sides[name], request))
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
        **{f"{name}_s": seconds for name, seconds in middle.items()},
        "gflop": gflop,
        "service_gflops": gflop / middle["service"],
        "matmul_gflops": matmul_gflops,
        "service_share_of_matmul": gflop / middle["service"] / matmul_gflops,
    }


def _difference(first: bytes, second: bytes) -> int:
    """The largest difference between two picture files, in levels of 255."""
    a, b = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16) for data in (first, second))
    return int(np.abs(a - b).max())
