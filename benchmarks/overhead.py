"""What orchestration costs: one request through Triton, and the same engines called in one process.

Both sides make the same picture and take turns, so that whatever else happens on the machine hits both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from insta_depth import InstaDepth

from deploy.local import ON_FREE_PORTS, LocalTriton
from export.in_process import generate, import_models_of, make_pipeline

from .options import Options
from .records import Measured
from .side_by_side import largest_difference
from .wide_checkpoint import SMALL_PX

_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Run:
    """One picture, and how long its denoising took."""

    image: bytes
    denoise_ms: float


Side = Callable[[], Run]


def measure(options: Options, steps: int, guidance_scale: float) -> Measured:
    """Compare the two sides over ``options.repeats`` pairs of runs, after one of each to warm up."""
    request: dict[str, Any] = {
        "prompt": "a woman",
        "face_image": options.face,
        "pose_image": options.pose,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "seed": 1,
        "max_side": SMALL_PX,
        "output_format": "png",
    }
    with (
        LocalTriton(options.wide_repository, ON_FREE_PORTS) as server,
        InstaDepth(server.grpc_url, _TIMEOUT_S) as client,
    ):
        sides = (_through_triton(client, request), _in_process(options.wide_repository, request))
        first, second = (side() for side in sides)
        pairs = [_pair(sides, swapped=bool(repeat % 2)) for repeat in range(options.repeats)]
    return _summary(pairs, steps) | {"largest_difference": largest_difference(first.image, second.image)}


def _through_triton(client: InstaDepth, request: dict[str, Any]) -> Side:
    def run() -> Run:
        made = client.generate(**request)
        return Run(made.image, made.timings["denoise"])

    return run


def _in_process(repository: Path, request: dict[str, Any]) -> Side:
    import_models_of(repository)
    pipeline = make_pipeline(repository)

    def run() -> Run:
        made = generate(pipeline, request)
        return Run(made.image, made.timings_ms["denoise"])

    return run


def _pair(sides: tuple[Side, Side], swapped: bool) -> tuple[float, float]:
    """Run both and return their milliseconds in the order of ``sides``, whichever ran first."""
    order = reversed(range(2)) if swapped else range(2)
    took_ms = {index: sides[index]().denoise_ms for index in order}
    return took_ms[0], took_ms[1]


def _summary(pairs: list[tuple[float, float]], steps: int) -> Measured:
    """Compare milliseconds of denoising, (through Triton, in one process) a pair.

    The rest of a request is left out: the orchestrator's cache spares it the faces and the prompts.
    """
    ratios = sorted(triton / process for triton, process in pairs)
    return {
        "loop_ratio": median(ratios),
        "lowest_ratio": ratios[0],
        "highest_ratio": ratios[-1],
        "step_through_triton_ms": median(triton for triton, _ in pairs) / steps,
        "step_in_process_ms": median(process for _, process in pairs) / steps,
    }
