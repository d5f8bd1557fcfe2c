"""What all rows are given."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Where things are. ``pictures`` holds ``face.png`` and ``pose.png``; ``checkpoint`` is what ``repository`` serves.

    ``wide_repository`` has a step that takes long enough for the cost of orchestration to be told from noise.
    """

    repository: Path
    pictures: Path
    wide_repository: Path
    repeats: int = 5
    checkpoint: Path = Path("miniature/weights")

    @property
    def wide_checkpoint(self) -> Path:
        """What ``wide_repository`` serves."""
        return self.wide_repository.with_name(f"{self.wide_repository.name}-checkpoint")

    @property
    def face(self) -> bytes:
        """The picture of the person, a file's bytes."""
        return (self.pictures / "face.png").read_bytes()

    @property
    def pose(self) -> bytes:
        """The picture of the pose."""
        return (self.pictures / "pose.png").read_bytes()
