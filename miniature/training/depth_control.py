"""ControlNet-Depth, with the base and InstantID frozen (arXiv:2302.05543)."""

import numpy as np
import torch
from torch import nn

from .examples import Examples
from .identity import IdentityStage, Parts, random_scales
from .latent_recognizer import LatentRecognizer
from .loop import Batch, Schedule
from .pictures import Arrays

_OWN = 0.9
_SCALES = (0.25, 0.6)


class DepthControlStage(IdentityStage):
    """Mostly conditioned on the picture's own depth. Sometimes the depth is that of another person in the same pose
    at another place, so that the identity still comes from the face.
    """

    name = "depth_control"
    face_weight = 2.0

    def __init__(self, parts: Parts, examples: Examples, recognizer: LatentRecognizer, schedule: Schedule) -> None:
        super().__init__(parts, examples, recognizer, schedule)
        self._trained = nn.ModuleDict({"depth": parts.depth})

    def _depth(self, examples: Arrays, rng: np.random.Generator) -> Batch:
        count = len(examples["latents"])
        own = rng.random(count)[:, None, None] < _OWN
        depth = np.where(own, examples["own_depth"], examples["twin_depth"])
        return {"depth": torch.from_numpy(depth)[:, None], "depth_scale": random_scales(rng, count, _SCALES)}
