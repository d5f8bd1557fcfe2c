"""A checkpoint whose step takes long enough to see what orchestration adds: on two cores a second at 384 px.

At 192 px it takes 200 ms. It is the miniature with a wider UNet, random weights, and the miniature's face detector.
"""

import shutil
import subprocess
import sys
from pathlib import Path

SMALL_PX = 192
"""``max_side`` of a picture whose step takes 200 ms."""
_LARGE_PX = 384

_CHANNELS, _HEADS = (160, 320, 480), (5, 10, 15)
_DETECTOR = Path("antelopev2", "scrfd_10g_bnkps.onnx")


def prepare(miniature_checkpoint: Path, checkpoint: Path, repository: Path) -> None:
    """Write the checkpoint and export it to ``repository``; does nothing where both exist."""
    if repository.exists() and checkpoint.exists():
        return
    for old in (checkpoint, repository, unfinished := repository.with_name(f"{repository.name}.unfinished")):
        shutil.rmtree(old, ignore_errors=True)
    _write(miniature_checkpoint, checkpoint)
    sides = ["--min-side", str(SMALL_PX), "--max-side", str(_LARGE_PX)]
    command = [sys.executable, "-m", "export", "onnx", "--no-verify", *sides]
    subprocess.run(
        [*command, "--checkpoint", str(checkpoint), "--output", str(unfinished)], check=True, stdout=sys.stderr
    )
    unfinished.rename(repository)


def _write(miniature_checkpoint: Path, checkpoint: Path) -> None:
    from miniature.architecture import CheckpointConfig, UNetConfig
    from miniature.checkpoint import write_checkpoint
    from miniature.detector import FaceDetector

    config = CheckpointConfig(unet=UNetConfig(channels=_CHANNELS, heads=_HEADS))
    write_checkpoint(checkpoint, config, seed=0, detector=FaceDetector())
    # Only the miniature's detector has learnt to find the faces of its world.
    shutil.copy(miniature_checkpoint / _DETECTOR, checkpoint / _DETECTOR)
