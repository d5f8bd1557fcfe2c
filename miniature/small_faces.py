"""``python -m miniature.small_faces CHECKPOINT DIR``: train a checkpoint further, on people who are seen whole."""

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from export.checkpoint import Checkpoint

from . import training_command
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
    training_command.add_further_arguments(parser, "build/further", SMALL_FACES, _PARTS)
    options = training_command.parse(parser, "checkpoint", "seed", "steps", "parts")
    return training_command.run("miniature.small_faces", lambda: _train(options))


def _train(options: argparse.Namespace) -> None:
    place, pictures = training_command.place_and_pictures(options)
    train_further(
        options.checkpoint,
        options.folder,
        CheckpointConfig(),
        pictures,
        replace(SMALL_FACES, steps=options.steps),
        place,
    )


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
    train_small_faces(parts, config, pictures, annotators, schedule, place)
    with appearing_at(folder) as draft:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        write_parts(draft, parts)


if __name__ == "__main__":
    sys.exit(main())
