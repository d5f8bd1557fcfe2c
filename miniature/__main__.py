"""``python -m miniature DIR``: train the miniature checkpoint on its drawn world; resumes an interrupted run."""

import argparse
import json
import sys
import time
from dataclasses import replace
from math import ceil
from pathlib import Path

import torch
from rich.console import Console

from export.command_line import run_command

from .architecture import CheckpointConfig
from .training.loop import Workplace
from .training.pictures import HELD_BACK_SEED, TrainingPictures
from .training.pipeline import FULL, train_all
from .training.writing import write_trained

_FEWEST_PARTS = 8


def main() -> int:
    """Write the checkpoint; DIR appears when it is complete."""
    options = _parse()
    return run_command("miniature", lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    console, started = Console(), time.monotonic()
    try:
        _train(options)
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from here.")
        return 130
    size_mb = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()) / 1e6
    console.print(f"{options.folder}: {size_mb:.0f} MB in {time.monotonic() - started:.0f} s", highlight=False)
    return 0


def _train(options: argparse.Namespace) -> None:
    place = Workplace(options.work, options.seed, torch.device(options.device))
    pictures = TrainingPictures(options.work, options.seed)
    pictures = replace(pictures, parts=max(_FEWEST_PARTS, ceil(pictures.parts * options.share)))
    write_trained(options.folder, train_all(CheckpointConfig(), FULL.shortened(options.share), pictures, place))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m miniature", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="what is not finished (%(default)s)")
    parser.add_argument("--seed", type=_seed, default=0, help="(%(default)s)")
    parser.add_argument("--share", type=_share, default=1.0, help="of the steps, for trying out (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    options = parser.parse_args()
    try:
        _check(options)
    except (ValueError, RuntimeError, AssertionError) as error:
        parser.error(str(error))
    return options


def _share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return float(text)


def _seed(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    if int(text) == HELD_BACK_SEED:
        raise argparse.ArgumentTypeError(f"{text} draws the people whom `python -m benchmarks quality` measures with")
    return int(text)


def _check(options: argparse.Namespace) -> None:
    """Check early what would otherwise fail after hours: raises `ValueError`, or torch's error for a device."""
    if options.folder.exists():
        raise ValueError(f"{options.folder} exists already: name a new folder")
    torch.zeros(1, device=options.device)
    _claim(options.work, {"seed": options.seed, "share": options.share})


def _claim(work: Path, run: dict[str, float]) -> None:
    """Bind ``work`` to one run: weights of another run would be taken for finished."""
    work.mkdir(parents=True, exist_ok=True)
    owner = work / "run.json"
    if not owner.exists() and any(work.iterdir()):
        raise ValueError(f"{work} is not empty, and holds no run of this command: name another folder with --work")
    if owner.exists() and (begun := json.loads(owner.read_text(encoding="utf-8"))) != run:
        raise ValueError(f"{work} belongs to a run of {begun}, this one is of {run}: name another folder with --work")
    owner.write_text(json.dumps(run), encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know ASCII only
    sys.exit(main())
