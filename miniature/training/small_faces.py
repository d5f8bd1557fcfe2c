"""The denoising networks once more, together: people who are seen whole, whose faces are a few latent cells wide."""

from dataclasses import replace

import torch
from torch import nn

from .denoising_loss import Denoising
from .depth_control import DepthControlStage
from .examples import Examples
from .identity import LEAST_SNR, Parts
from .loop import Batch, Schedule
from .pictures import TrainingPictures

_SIZES_PX = ((192, 192), (192, 128), (192, 192), (128, 192), (128, 128))
_SHARE = 0.6


def with_small_faces(pictures: TrainingPictures) -> TrainingPictures:
    """Return what to draw for this stage, beside ``pictures``: larger, and most people stand far away."""
    return replace(pictures, folder=pictures.folder / "small-faces", sizes_px=_SIZES_PX, small=_SHARE)


class SmallFacesStage(DepthControlStage):
    """UNet, InstantID's three and ControlNet-Depth learn together, as each did alone; the text encoders stay."""

    name = "small_faces"
    face_weight = 8.0

    def __init__(self, parts: Parts, examples: Examples, schedule: Schedule) -> None:
        self.parts, self.schedule, self._examples = parts, schedule, examples
        self._denoising = Denoising(parts.vae.device, LEAST_SNR)
        self._trained = nn.ModuleDict(
            {
                "unet": parts.unet,
                "projector": parts.projector,
                "identitynet": parts.identitynet,
                "depth": parts.depth,
            }
        )

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the denoising loss, weighted towards the face."""
        return {"noise": self._towards_face(self._attempt(batch), batch)}
