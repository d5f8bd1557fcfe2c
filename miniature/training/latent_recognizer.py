"""A recogniser on latents: it measures how similar a half-denoised picture is to the wanted person.

PuLID (arXiv:2404.16022) does this on decoded pictures; latents need no decoder.
"""

import numpy as np
import torch
import torch.nn.functional as F
from insightface.utils.face_align import estimate_norm
from torch import nn

from ..recognizer import SIDE_PX, Residual, block
from .examples import Examples
from .loop import Batch, Schedule, Stage
from .vae import VAE_FACTOR

_CELLS = 14
_CHANNELS = (48, 96)
_SCALE = 16.0
_OTHERS_WEIGHT = 0.1
_NOISY, _MOST_NOISE = 0.7, 0.5


class LatentRecognizer(nn.Module):
    """Aligned latents of a face → the recogniser's embedding, up to its length."""

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        few, many = _CHANNELS
        self.features = nn.Sequential(
            *block(4, few), Residual(few), *block(few, many, stride=2), Residual(many), *block(many, few), nn.Flatten()
        )  # fmt: skip
        self.embedding = nn.Linear(few * (_CELLS // 2) ** 2, embedding_size)

    def forward(self, latents: torch.Tensor, crop: torch.Tensor) -> torch.Tensor:
        """latents (B, 4, h, w) of unit deviation, crop (B, 14, 14, 2) as `face_crops` → (B, size)."""
        return self.embedding(self.features(F.grid_sample(latents, crop, align_corners=False)))

    def likeness(self, latents: torch.Tensor, crop: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
        """Return the cosine (B,) with the embeddings ``face`` (B, size)."""
        return F.cosine_similarity(self(latents, crop).float(), face.float())


class LatentRecognizerStage(Stage):
    """Predicts the embedding of another picture of the person from latents that are mostly slightly noisy."""

    name = "latent_recognizer"

    def __init__(self, network: LatentRecognizer, scale: float, examples: Examples, schedule: Schedule) -> None:
        """``scale`` brings the examples' latents to unit deviation."""
        self.network, self.schedule, self._scale, self._examples = network, schedule, scale, examples

    @property
    def trained(self) -> nn.Module:
        """The network."""
        return self.network

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return ``latents``, unscaled, ``crop`` and ``face``."""
        drawn = self._examples.draw(rng, self.schedule.batch)
        crop = face_crops(drawn["keypoints"], drawn["latents"].shape[2:])
        return {name: torch.from_numpy(drawn[name]) for name in ("latents", "face")} | {"crop": torch.from_numpy(crop)}

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the angle to the right face, and a contrastive loss against the batch's others."""
        latents = batch["latents"].float() * self._scale
        amount = torch.rand(len(latents), 2, device=latents.device)
        sigma = _MOST_NOISE * amount[:, 0] * (amount[:, 1] < _NOISY)
        noisy = latents + sigma[:, None, None, None] * torch.randn_like(latents)
        seen = F.normalize(self.network(noisy, batch["crop"]).float())
        cosine = seen @ F.normalize(batch["face"].float()).T
        right = torch.arange(len(cosine), device=cosine.device)
        others = F.cross_entropy(_SCALE * cosine, right)
        return {"likeness": 1 - cosine.diagonal().mean(), "others": _OTHERS_WEIGHT * others}


def face_crops(keypoints: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """Return the sampling grids of aligned faces in latents of ``cells`` (h, w).

    ``keypoints``: (N, 5, 2) pixels. The result is (N, 14, 14, 2) float32, for `torch.nn.functional.grid_sample`.
    """
    centres = (np.arange(_CELLS) + 0.5) * SIDE_PX / _CELLS - 0.5
    x, y = np.meshgrid(centres, centres)
    aligned = np.stack([x, y, np.ones_like(x)], axis=-1)
    pixels = np.stack([aligned @ np.linalg.inv([*estimate_norm(points, SIDE_PX), [0, 0, 1]]).T for points in keypoints])
    size_px = VAE_FACTOR * np.array(cells[::-1])
    return (2 * (pixels[..., :2] + 0.5) / size_px - 1).astype(np.float32)
