"""What the training commands share: options, what is checked before hours of work, and what an interruption says."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from export.command_line import run_command

from .training.loop import Schedule, Workplace
from .training.pictures import HELD_BACK_SEED, TrainingPictures

_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser, work: str) -> None:
    """Add what every training takes; ``work``: the usual folder of what is not finished."""
    parser.add_argument("--work", type=Path, default=Path(work), help="what is not finished (%(default)s)")
    parser.add_argument("--seed", type=_seed, default=0, help="(%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")


def add_further_arguments(parser: argparse.ArgumentParser, work: str, schedule: Schedule, parts: int) -> None:
    """Add what the further training of a checkpoint takes; ``parts``: of the training pictures."""
    add_arguments(parser, work)
    parser.add_argument("--steps", type=int, default=schedule.steps, help="of the training (%(default)s)")
    parser.add_argument("--parts", type=int, default=parts, help="of 1,000 pictures each (%(default)s)")


def parse(parser: argparse.ArgumentParser, *run: str) -> argparse.Namespace:
    """Parse the command line, and check early what would otherwise fail after hours.

    ``run``: the options that tell one run from another.
    """
    options = parser.parse_args()
    try:
        if "folder" in options and options.folder.exists():
            raise ValueError(f"{options.folder} exists already: name a new folder")
        torch.zeros(1, device=options.device)
        values = {name: getattr(options, name) for name in run}
        _claim(options.work, {name: str(value) if isinstance(value, Path) else value for name, value in values.items()})
    except (ValueError, RuntimeError, AssertionError) as error:
        parser.error(str(error))
    return options


def place_and_pictures(options: argparse.Namespace) -> tuple[Workplace, TrainingPictures]:
    """Return where a checkpoint is trained further, and on what."""
    place = Workplace(options.work, options.seed, torch.device(options.device))
    return place, TrainingPictures(options.work, options.seed, parts=options.parts)


def run(name: str, train: Callable[[], None]) -> int:
    """Return the exit status of ``train``."""

    def trained() -> int:
        try:
            train()
        except KeyboardInterrupt:
            Console().print("Stopped. The same command goes on from here.")
            return _INTERRUPTED
        return 0

    return run_command(name, trained)


def _seed(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    if int(text) == HELD_BACK_SEED:
        raise argparse.ArgumentTypeError(f"{text} draws the people whom `python -m benchmarks quality` measures with")
    return int(text)


def _claim(work: Path, run: dict[str, float | str]) -> None:
    """Bind ``work`` to one run: weights of another run would be taken for finished."""
    work.mkdir(parents=True, exist_ok=True)
    owner = work / "run.json"
    if not owner.exists() and any(work.iterdir()):
        raise ValueError(f"{work} is not empty, and holds no run of this command: name another folder with --work")
    if owner.exists() and (begun := json.loads(owner.read_text(encoding="utf-8"))) != run:
        raise ValueError(f"{work} belongs to a run of {begun}, this one is of {run}: name another folder with --work")
    owner.write_text(json.dumps(run), encoding="utf-8")
