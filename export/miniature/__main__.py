"""``python -m export.miniature DIR``: train the miniature checkpoint on the little world; go on where it stopped."""

import argparse
import time
from dataclasses import replace
from math import ceil
from pathlib import Path

import torch
from rich.console import Console

from .plan import CheckpointPlan
from .training.everything import FULL, train_everything
from .training.loop import Workplace
from .training.pictures import PicturePlan
from .training.writing import write_trained

_FEWEST_PARTS = 8


def main() -> None:
    """Write the checkpoint; DIR appears when it is complete."""
    options = _parse()
    console, started = Console(), time.monotonic()
    _train(options)
    size_mb = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()) / 1e6
    console.print(f"{options.folder}: {size_mb:.0f} MB in {time.monotonic() - started:.0f} s", highlight=False)


def _train(options: argparse.Namespace) -> None:
    options.work.mkdir(parents=True, exist_ok=True)
    place = Workplace(options.work, options.seed, torch.device(options.device))
    pictures = PicturePlan(options.work, options.seed)
    pictures = replace(pictures, parts=max(_FEWEST_PARTS, ceil(pictures.parts * options.share)))
    write_trained(options.folder, train_everything(CheckpointPlan(), FULL.shortened(options.share), pictures, place))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m export.miniature", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="what is not finished (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for trying out (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
