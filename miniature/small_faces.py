"""``python -m miniature.small_faces CHECKPOINT DIR``: train a checkpoint further, on people who are seen whole."""

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from export.checkpoint import Checkpoint
from export.command_line import run_command

from .architecture import CheckpointConfig
from .checkpoint import appearing_at
from .trained import load_annotators, load_parts, load_unet
from .training.loop import Schedule, Workplace
from .training.pictures import TrainingPictures
from .training.pipeline import SMALL_FACES, train_small_faces
from .training.writing import write_parts

_PARTS = 15


def main() -> int:
    """Write the whole checkpoint anew; DIR appears when it is complete."""
    parser = argparse.ArgumentParser(prog="python -m miniature.small_faces", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--work", type=Path, default=Path("build/further"), help="what is not finished (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=SMALL_FACES.steps, help="of the training (%(default)s)")
    parser.add_argument("--parts", type=int, default=_PARTS, help="of 1,000 pictures each (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    options = parser.parse_args()
    return run_command("miniature.small_faces", lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    place = Workplace(options.work, options.seed, torch.device(options.device))
    pictures = TrainingPictures(options.work, options.seed, parts=options.parts)
    schedule = replace(SMALL_FACES, steps=options.steps)
    train_further(options.checkpoint, options.folder, CheckpointConfig(), pictures, schedule, place)
    return 0


def train_further(
    source: Path,
    folder: Path,
    config: CheckpointConfig,
    pictures: TrainingPictures,
    schedule: Schedule,
    place: Workplace,
) -> None:
    """Write the checkpoint in ``source``, which ``config`` describes, to ``folder`` as it is after the training."""
    checkpoint = Checkpoint.at(source)
    parts = load_parts(checkpoint, load_unet(checkpoint), place.device)
    annotators = load_annotators(checkpoint, config, parts, place.device)
    place.folder.mkdir(parents=True, exist_ok=True)
    train_small_faces(parts, pictures, annotators, schedule, place)
    with appearing_at(folder) as draft:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        write_parts(draft, parts)


if __name__ == "__main__":
    sys.exit(main())
