"""One request, and ways of making its picture in this process: by PyTorch's modules or by the engines.

PyTorch runs the modules that were exported, in the published pipeline's order; faces are found by ONNX Runtime in
either way, as insightface does.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from PIL import Image

from export.checkpoint import Checkpoint
from export.engines import PUBLISHED_AS_ONNX, ROW_OF, step_engine_names
from export.facts import read_facts
from export.in_process import Arrays, InProcess, RunEngine, generate, make_pipeline, onnx_engine
from export.precision import Precision

from .options import Options

Request = Mapping[str, Any]
Side = Callable[[Request], bytes]
"""A request's attributes → the picture's file."""


def request_of(options: Options, steps: int, number: int, **attributes: Any) -> dict[str, Any]:
    """Return a guided request that differs from every other in its seed, words and one pixel of each picture.

    So no cache answers any part of it.
    """
    return {
        "prompt": f"Photo of a woman, number {number}",
        "face_image": _marked(options.face, number),
        "pose_image": _marked(options.pose, number),
        "num_inference_steps": steps,
        "guidance_scale": 3.0,
        "seed": number,
        "output_format": "png",
        **attributes,
    }


def _marked(picture: bytes, number: int) -> bytes:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.putpixel((0, 0), (number % 256, number // 256, 0))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def in_one_process(repository: Path, open_engine: Callable[[Path], RunEngine] = onnx_engine) -> Side:
    """Return the repository's own pipeline over engines as ``open_engine`` opens them."""
    pipeline = make_pipeline(repository, InProcess(repository, open_engine))
    return lambda request: bytes(generate(pipeline, request).image)


def in_torch(repository: Path, folder: Path, is_compiled: bool = False) -> Side:
    """Return the same pipeline over the modules of the checkpoint in ``folder``.

    ``is_compiled``: those of the step by ``torch.compile``.
    """
    checkpoint = Checkpoint.at(folder)
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

    return in_one_process(repository, open_module)


def choose_threads(side: Side, request: Request) -> int:
    """Set and return PyTorch's faster number of threads: where two processors share a core, one is faster than two."""
    most = torch.get_num_threads()
    times_s = {}
    for count in dict.fromkeys((most, 1)):
        torch.set_num_threads(count)
        times_s[count] = min(seconds(side, request) for _ in range(2))
    fastest = min(times_s, key=lambda count: times_s[count])
    torch.set_num_threads(fastest)
    return fastest


def seconds(side: Side, request: Request) -> float:
    """Return how long ``side`` takes."""
    started = perf_counter()
    side(request)
    return perf_counter() - started
