"""``python -m export.miniature DIR``: make the miniature checkpoint, its face detector trained on the little world."""

import argparse
import time
from pathlib import Path

from rich.console import Console

from .checkpoint import write_checkpoint
from .detector_training import TrainingPlan, train_detector
from .plan import CheckpointPlan


def main() -> None:
    """Train the detector, then write the checkpoint; DIR appears when it is complete."""
    parser = argparse.ArgumentParser(prog="python -m export.miniature", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    console, started = Console(), time.monotonic()
    detector = train_detector(TrainingPlan(seed=options.seed))
    with console.status("writing random weights in the published layouts"):
        write_checkpoint(options.folder, CheckpointPlan(), options.seed, detector)
    size_mb = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()) / 1e6
    console.print(f"{options.folder}: {size_mb:.0f} MB in {time.monotonic() - started:.0f} s", highlight=False)


if __name__ == "__main__":
    main()
