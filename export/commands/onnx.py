"""``python -m export onnx``: a checkpoint → a complete model repository of ONNX engines."""

import argparse
import math
import resource
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..checkpoint import PARTS, Checkpoint, Lora
from ..few_steps import RECIPES, FewStepWeights, Recipe, find_weights
from ..manifest import Sides
from ..parity import ParityRow
from ..precision import Precisions
from ..repository import Export
from . import Commands, engine_names


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    onnx = commands.add_parser("onnx", help="write a complete model repository of ONNX engines")
    onnx.add_argument("--checkpoint", type=Path, required=True, metavar="DIR")
    onnx.add_argument("--output", type=Path, required=True, metavar="build/NAME")
    onnx.add_argument("--precision", type=_precisions, default=Precisions(), metavar="fp32|fp16|bf16[,ENGINE=…]")
    onnx.add_argument("--min-side", type=_side, metavar="PX", help="shorter side at first (default: the checkpoint's)")
    onnx.add_argument("--max-side", type=_side, metavar="PX", help="longer side (default: 1.25 × min)")
    onnx.add_argument("--only", type=engine_names, default=frozenset(), metavar="ENGINE,…")
    onnx.add_argument(
        "--lora",
        type=_lora,
        action="append",
        default=[],
        metavar="PATH[:SCALE]",
        help="fuse it into the base; repeatable",
    )
    onnx.add_argument(
        "--few-steps",
        type=_few_steps,
        metavar=f"{'|'.join(RECIPES)}[:PATH]",
        help="make it a checkpoint for few steps: by the LoRA that fetch --few-steps brought, or by PATH (a LoRA, "
        "a UNet's folder, or base: the base is one already); sets scheduler, steps and guidance as its publisher does",
    )
    onnx.add_argument("--no-refine", action="store_true", help="leave out vae_encoder, which refine_face needs")
    onnx.add_argument("--no-verify", action="store_true", help="don't compare the engines with their modules")
    for part in PARTS:
        onnx.add_argument(f"--{part}", type=Path, metavar="DIR", help=f"instead of DIR/{part}")
    onnx.set_defaults(run=run)


def _side(text: str) -> int:
    side = int(text)
    if side < 64 or side % 64:
        raise argparse.ArgumentTypeError(f"{side} is not a positive multiple of 64")
    return side


def _lora(text: str) -> Lora:
    path, colon, scale = text.rpartition(":")
    if not colon:
        path, scale = text, "1"
    try:
        value = float(scale)
    except ValueError:
        value = math.nan
    if not path or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not PATH or PATH:SCALE, where SCALE is a number such as 0.8")
    return Lora(Path(path), value)


def _few_steps(text: str) -> tuple[Recipe, str | None]:
    kind, _, path = text.partition(":")
    if kind not in RECIPES:
        raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(RECIPES)}")
    return RECIPES[kind], path or None


def _checkpoint(options: argparse.Namespace, recipe: Recipe | None, path: str | None) -> Checkpoint:
    overrides = {part.replace("-", "_"): getattr(options, part.replace("-", "_")) for part in PARTS}
    weights = find_weights(recipe, path, options.checkpoint) if recipe else FewStepWeights()
    loras = (*((weights.lora,) if weights.lora else ()), *options.lora)
    return Checkpoint.at(options.checkpoint, loras, weights.unet, **overrides)


def run(options: argparse.Namespace, console: Console) -> int:
    """Export the engines that are out of date; show each one's parity."""
    recipe, path = options.few_steps or (None, None)
    with console.status("checking the checkpoint"):
        export = Export(
            checkpoint=_checkpoint(options, recipe, path),
            output=options.output,
            precisions=options.precision,
            sides=Sides(options.min_side, options.max_side),
            only=options.only,
            verify=not options.no_verify,
            few_steps=recipe,
            refine=not options.no_refine,
        )
    started, rows = time.monotonic(), []
    with console.status("") as status:

        def report(name: str, state: str) -> None:
            status.update(f"{name}: {state}")
            if not state.startswith("checking"):
                console.print(f"{time.monotonic() - started:6.1f} s  {name:<20} {state}", highlight=False)

        try:
            for row in export.run(report):
                rows.append(row)
        finally:
            _print_parity(rows, console)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(f"{options.output}: done in {time.monotonic() - started:.0f} s, peak memory {peak_gib:.1f} GiB")
    return 0


def _print_parity(rows: list[ParityRow], console: Console) -> None:
    if not rows:
        return
    table = Table("engine", "input", "largest difference", "tolerance", "", title="ONNX Runtime against PyTorch")
    for row in rows:
        verdict = "[green]ok[/]" if row.passed else "[red]over[/]"
        table.add_row(row.engine, row.shapes, f"{row.error:.1e}", f"{row.tolerance:.0e}", verdict)
    console.print(table)


def _precisions(text: str) -> Precisions:
    try:
        return Precisions.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
