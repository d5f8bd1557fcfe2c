"""``python -m miniature DIR``: train the miniature checkpoint on its drawn world; resumes an interrupted run."""

import argparse
import sys
import time
from dataclasses import replace
from math import ceil
from pathlib import Path

import torch
from rich.console import Console

from . import training_command
from .architecture import CheckpointConfig
from .training.loop import Workplace
from .training.pictures import TrainingPictures
from .training.pipeline import FULL, train_all
from .training.writing import write_trained

_FEWEST_PARTS = 8


def main() -> int:
    """Write the checkpoint; DIR appears when it is complete."""
    options = _parse()
    return training_command.run("miniature", lambda: _write(options))


def _write(options: argparse.Namespace) -> None:
    started = time.monotonic()
    _train(options)
    size_mb = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()) / 1e6
    Console().print(f"{options.folder}: {size_mb:.0f} MB in {time.monotonic() - started:.0f} s", highlight=False)


def _train(options: argparse.Namespace) -> None:
    place = Workplace(options.work, options.seed, torch.device(options.device))
    pictures = TrainingPictures(options.work, options.seed)
    pictures = replace(pictures, parts=max(_FEWEST_PARTS, ceil(pictures.parts * options.share)))
    write_trained(options.folder, train_all(CheckpointConfig(), FULL.shortened(options.share), pictures, place))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m miniature", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--share", type=_share, default=1.0, help="of the steps, for trying out (%(default)s)")
    training_command.add_arguments(parser, "build/training")
    return training_command.parse(parser, "seed", "share")


def _share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return float(text)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know ASCII only
    sys.exit(main())
