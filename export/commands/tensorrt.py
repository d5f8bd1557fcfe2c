"""``python -m export tensorrt``: a repository of ONNX engines → one of TensorRT plans, for the GPU of this machine."""

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..errors import ExportError
from ..plans.build import Builder
from ..plans.machine import BuildMachine
from ..plans.memory import USABLE
from ..plans.memory import report as report_memory
from ..plans.repository import PlanRepository
from ..plans.tensorrt_module import use_tensorrt_rtx
from ..shapes import Range, Size
from . import Commands, engine_names

TIMING_CACHE = "tensorrt.timing.cache"
REHEARSED_FOR = (8, 9)
"""Compute capability of rehearsals: the newest that both TensorRT-RTX and data-centre GPUs have (L4, L40S)."""


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    tensorrt = commands.add_parser("tensorrt", help="build TensorRT plans from a repository of ONNX engines")
    tensorrt.add_argument("--repository", type=Path, required=True, metavar="build/NAME")
    tensorrt.add_argument("--output", type=Path, metavar="DIR", help="the plans' repository (default: the same one)")
    tensorrt.add_argument("--batch", type=_batch, metavar="MIN,OPT,MAX", help="rows of a denoising step")
    tensorrt.add_argument(
        "--gpu-memory", type=_gigabytes, metavar="GB", help="of the GPU that serves: as many rows as fit (this GPU's)"
    )
    tensorrt.add_argument(
        "--optimum", type=_size, metavar="HxW", help="tune for pictures of this size, and capture a step of it"
    )
    tensorrt.add_argument(
        "--busy-wait-events", action="store_true", help="of a step: let Triton wait for the GPU in a loop"
    )
    tensorrt.add_argument("--only", type=engine_names, default=frozenset(), metavar="ENGINE,…")
    tensorrt.add_argument("--optimization-level", type=int, choices=range(6), metavar="0-5", help="TensorRT's own")
    tensorrt.add_argument("--timing-cache", type=Path, metavar="FILE", help=f"default: OUTPUT/{TIMING_CACHE}")
    tensorrt.add_argument(
        "--rehearse", action="store_true", help="no GPU needed: let TensorRT-RTX build every plan, and keep none"
    )
    tensorrt.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Build the plans that are out of date; show each one's progress."""
    if not options.repository.is_dir():
        raise ExportError(f"{options.repository} is not a folder: python -m export onnx makes a repository")
    output = options.output or options.repository
    plans = _plans(options, output)
    started = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
    ) as progress:
        bar = progress.add_task("", total=1.0)

        def report(name: str, state: str) -> None:
            progress.reset(bar, description=name)
            console.print(f"{time.monotonic() - started:6.1f} s  {name:<20} {state}", highlight=False)

        def advance(phase: str, done: float) -> None:
            progress.update(bar, completed=done, description=phase)

        plans.rehearse(report, advance) if options.rehearse else plans.run(report, advance)
    if memory := plans.memory():
        for sentence in report_memory(memory):
            console.print(sentence, highlight=False, soft_wrap=True)
    console.print(f"{output}: done in {time.monotonic() - started:.0f} s")
    return 0


def _plans(options: argparse.Namespace, output: Path) -> PlanRepository:
    return PlanRepository(
        repository=options.repository,
        output=output,
        machine=_rehearsal_machine() if options.rehearse else BuildMachine.here(),
        builder=Builder(
            timing_cache=None if options.rehearse else options.timing_cache or output / TIMING_CACHE,
            optimization_level=options.optimization_level,
            compute_capabilities=(REHEARSED_FOR,) if options.rehearse else None,
        ),
        batch=options.batch,
        optimum=options.optimum,
        only=options.only,
        busy_wait_events=options.busy_wait_events,
        gpu_memory_gb=options.gpu_memory or (None if options.rehearse else _this_gpu_gb()),
    )


def _rehearsal_machine() -> BuildMachine:
    return BuildMachine(use_tensorrt_rtx().__version__, "none", ".".join(map(str, REHEARSED_FOR)))


def _this_gpu_gb() -> float | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 2**30 / USABLE


def _gigabytes(text: str) -> float:
    number = float(text)
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text}: GB of GPU memory are needed, as in 24")
    return number


def _batch(text: str) -> Range:
    rows = [int(part) for part in text.split(",")]
    if len(rows) != 3 or not 1 <= rows[0] <= rows[1] <= rows[2] or rows[2] < 2:
        raise argparse.ArgumentTypeError(f"{text}: three rising numbers are needed, the last at least 2, as in 1,2,16")
    return rows[0], rows[1], rows[2]


def _size(text: str) -> Size:
    try:
        return Size.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; as in 1280x960 (height first)") from error
