"""A checkpoint whose step takes long enough (200 ms and more on two cores) to see what orchestration adds.

It is the miniature with a wider UNet, random weights, and the miniature's face detector.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_CHANNELS, _HEADS = (160, 320, 480), (5, 10, 15)
_DETECTOR = Path("antelopev2", "scrfd_10g_bnkps.onnx")


def prepare(miniature_checkpoint: Path, repository: Path) -> None:
    """Write the checkpoint and export it to ``repository``; does nothing where that exists."""
    if repository.exists():
        return
    unfinished = repository.with_name(f"{repository.name}.unfinished")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "wide"
        _write(miniature_checkpoint, checkpoint)
        command = [sys.executable, "-m", "export", "onnx", "--no-verify", "--min-side", "192"]
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
