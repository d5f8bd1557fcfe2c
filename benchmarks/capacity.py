"""``python -m benchmarks.capacity``: pictures a second, GPUs and cost for a load and a latency target.

The model is that of docs/capacity.md. Figures are given as VALUE[:measured|stated|estimated[:SOURCE]].
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .capacity_inputs import Figure, figure, share, step_of, whole
from .capacity_model import CapacityError, Fleet, Work, fleet

_STEP = Figure(84, "estimated", "25.6 TFLOP at the 305 TFLOP/s of NVIDIA's published SDXL step on an H100")
_ROW_SHARE = Figure(0.9, "estimated", "a pair at 1024x1024 all but fills a large GPU")
_FIXED = Figure(100, "estimated", "VAE 10.5 TFLOP at 305 TFLOP/s is 34 ms; faces, text, depth, JPEG")
_COST = Figure(2.5, "estimated", "a rented H100; prices differ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Calculate and print; the exit status is 1 where the load or the target cannot be met."""
    parsed = _parse(arguments)
    try:
        step = parsed.step_ms or (step_of(parsed.records) if parsed.records else _STEP)
        work = Work(
            parsed.steps, step.value / 1e3, parsed.row_share.value, parsed.fixed_ms.value / 1e3, parsed.max_requests
        )
        found = fleet(work, parsed.images_per_s.value, parsed.p95_latency_s.value, parsed.spare)
    except CapacityError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join([*_inputs(parsed, step), "", *_results(found, parsed)]) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--images-per-s", type=figure, required=True, help="the load, of all GPUs together")
    parser.add_argument(
        "--p95-latency-s", type=figure, required=True, help="95 of 100 pictures are to take at most this"
    )
    parser.add_argument("--step-ms", type=figure, help=f"a guided pair's step alone on its GPU ({_STEP})")
    parser.add_argument(
        "--from", dest="records", type=Path, metavar="FILE", help="take it from gpu-check's records.jsonl"
    )
    parser.add_argument("--row-share", type=share, default=_ROW_SHARE, help="of it comes again with each other request")
    parser.add_argument("--fixed-ms", type=figure, default=_FIXED, help="GPU time of a request outside its steps")
    parser.add_argument("--steps", type=whole, default=10, help="a request's steps (%(default)s)")
    parser.add_argument("--max-requests", type=whole, default=8, help="INSTA_DEPTH_MAX_REQUESTS (%(default)s)")
    parser.add_argument(
        "--spare", type=_count, default=0, help="GPUs beyond those needed, such as 1 for N+1 (%(default)s)"
    )
    parser.add_argument("--gpu-cost-per-hour", type=figure, default=_COST, help="of one GPU, in your currency")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text}: a whole number of at least 0 is expected")
    return int(text)


def _inputs(parsed: argparse.Namespace, step: Figure) -> list[str]:
    named = {
        "load, pictures a second": parsed.images_per_s,
        "target, p95 latency in s": parsed.p95_latency_s,
        "step of one request, ms": step,
        "share that grows with rows": parsed.row_share,
        "outside the steps, ms": parsed.fixed_ms,
        "cost of a GPU an hour": parsed.gpu_cost_per_hour,
    }
    return [f"{name:<28} {given}" for name, given in named.items()] + [
        f"{'steps a request':<28} {parsed.steps}",
        f"{'requests in flight a GPU':<28} at most {parsed.max_requests}",
    ]


def _results(found: Fleet, parsed: argparse.Namespace) -> list[str]:
    each, load = found.each, parsed.images_per_s.value
    part = each.images_per_s / each.work.saturation
    cost = found.gpus * parsed.gpu_cost_per_hour.value
    spare = f" = {found.needed} + {found.spare} to spare" if found.spare else ""
    values = {
        "GPUs": f"{found.gpus}{spare}",
        "one picture alone": f"{each.work.alone_s:.2f} s",
        "a GPU at saturation": f"{each.work.saturation:.2f} pictures a second",
        "a GPU at this load": f"{each.images_per_s:.2f} pictures a second, {part:.0%} of it",
        "rows in a step, mean": f"{each.rows_per_call:.1f}",
        "latency": f"mean {each.mean_latency_s:.2f} s, p50 {each.latency_s(50):.2f} s, p95 {each.latency_s(95):.2f} s",
        "find the limit reached": f"{each.refused_share:.1%} of requests",
        "cost an hour": f"{cost:.2f}",
        "cost of 1000 pictures": f"{cost / (3.6 * load):.2f}",
    }
    return [f"{name:<28} {value}" for name, value in values.items()]


if __name__ == "__main__":
    sys.exit(main())
