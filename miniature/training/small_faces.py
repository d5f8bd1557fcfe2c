"""The denoising networks once more, together: people who are seen whole, whose faces are a few latent cells wide."""

from dataclasses import replace

from torch import nn

from .depth_control import DepthControlStage
from .examples import Examples
from .identity import Parts
from .latent_recognizer import LatentRecognizer
from .loop import Schedule
from .pictures import TrainingPictures

_SIZES_PX = ((192, 192), (192, 128), (192, 192), (128, 192), (128, 128))
_SHARE = 0.6


def with_small_faces(pictures: TrainingPictures) -> TrainingPictures:
    """Return what to draw for this stage, beside ``pictures``: larger, and most people stand far away."""
    return replace(pictures, folder=pictures.folder / "small-faces", sizes_px=_SIZES_PX, small=_SHARE)


class SmallFacesStage(DepthControlStage):
    """UNet, InstantID's three and ControlNet-Depth learn together, as each did alone; the text encoders stay.

    Without the likeness among its losses the new UNet no longer drew the person whom the face attention asked for.
    """

    name = "small_faces"
    face_weight = 8.0

    def __init__(self, parts: Parts, examples: Examples, recognizer: LatentRecognizer, schedule: Schedule) -> None:
        super().__init__(parts, examples, recognizer, schedule)
        self._trained = nn.ModuleDict(
            {
                "unet": parts.unet,
                "projector": parts.projector,
                "identitynet": parts.identitynet,
                "depth": parts.depth,
            }
        )
