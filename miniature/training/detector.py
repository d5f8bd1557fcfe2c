"""The face detector, on its own pictures: several people or nobody, near and far, at every size."""

from functools import cached_property

import numpy as np
import torch
from torch import nn

from ..detector import FaceDetector
from ..detector_loss import detection_loss
from ..detector_pictures import Picture, draw_pictures, place_batch
from .loop import Batch, Schedule, Stage

_SIDES_PX, _SHARES = (640, 480, 320, 224, 160), (0.7, 0.1, 0.1, 0.05, 0.05)
"""Sides of the square inputs. Batch norm must know 640, which nearly every picture is brought to."""
_PIXELS = 640**2


class DetectorStage(Stage):
    """``schedule.batch`` counts pictures of 640 × 640; smaller pictures come in larger batches."""

    name = "detector"
    autocast = False

    def __init__(self, network: FaceDetector, pictures: int, seed: int, schedule: Schedule) -> None:
        self.network, self.schedule = network, schedule
        self._count, self._seed = pictures, seed

    @cached_property
    def _pictures(self) -> list[Picture]:
        return draw_pictures(self._count, self._seed)

    @property
    def trained(self) -> nn.Module:
        """The whole network."""
        return self.network

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return ``image`` (B, 3, S, S) uint8 and ``faces``, a list."""
        side = int(rng.choice(_SIDES_PX, p=_SHARES))
        image, faces = place_batch(rng, self._pictures, side, self.schedule.batch * _PIXELS // side**2)
        return {"image": image, "faces": faces}

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the focal loss of scores and the distances of boxes and keypoints, in one."""
        image = (batch["image"].float() - 127.5) / 128
        return {"detection": detection_loss(self.network(image), batch["faces"], image.shape[-1])}
