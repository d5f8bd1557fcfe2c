"""The face recogniser: ArcFace (arXiv:1801.07698) over all people of the training pictures."""

from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from insightface.utils.face_align import estimate_norm
from torch import nn

from ..pixels import to_model
from ..recognizer import SIDE_PX, Recognizer
from .loop import Batch, Schedule, Stage
from .pictures import Arrays, TrainingPictures, derived, load
from .vae import redraw

_SCALE, _MARGIN = 24.0, 0.3


class RecognizerStage(Stage):
    """Faces cropped as by insightface, with slightly inexact keypoints, as a detector finds them. Half of them are
    redrawn by the VAE, so that details it cannot draw do not identify anybody.
    """

    name = "recognizer"

    def __init__(self, network: Recognizer, vae: AutoencoderKL, pictures: TrainingPictures, schedule: Schedule) -> None:
        self.network, self.schedule, self._vae, self._drawn = network, schedule, vae, pictures
        people = pictures.parts * pictures.people
        self._people = nn.Linear(network.embedding.out_features, people, bias=False)
        self._trained = nn.ModuleDict({"network": network, "people": self._people})

    @cached_property
    def _parts(self) -> list[Arrays]:
        parts = (_flawless(self._drawn, part) for part in range(self._drawn.parts))
        redrawn = derived(self._drawn, "redrawn", lambda part: _redrawn(self._vae, self._drawn, part))
        both = (part | images for part, images in zip(parts, redrawn, strict=True))
        return [part for part in both if len(part["image"])]

    @property
    def trained(self) -> nn.Module:
        """The network, and a direction for each person, which is not exported."""
        return self._trained

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return ``face`` (B, 3, 112, 112) uint8 and ``person`` (B,)."""
        faces, people = [], []
        for index in rng.integers(len(self._parts), size=self.schedule.batch):
            part = self._parts[index]
            chosen = rng.integers(len(part["image"]))
            faces.append(disturb(rng, cut_face(part["image"][chosen], _jitter(rng, part["keypoints"][chosen]))))
            people.append(part["person"][chosen])
        return {"face": torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2), "person": torch.tensor(people)}

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return ArcFace's loss: it adds a margin to the right person's angle."""
        embedding = F.normalize(self.network(to_model(batch["face"])).float())
        # Not in autocast's bfloat16, in which the bound below is 1, where the angle has no gradient.
        cosine = (embedding @ F.normalize(self._people.weight.float()).T).float()
        angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).arccos()
        right = F.one_hot(batch["person"], cosine.shape[1]).bool()
        logits = torch.where(right, (angle + _MARGIN).clamp(max=torch.pi).cos(), cosine)
        return {"arcface": F.cross_entropy(_SCALE * logits, batch["person"])}


def cut_face(image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Return the aligned face (112, 112, 3) uint8, as insightface's ``norm_crop`` does."""
    return cv2.warpAffine(image, estimate_norm(keypoints, SIDE_PX), (SIDE_PX, SIDE_PX), borderValue=0.0)


def disturb(rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
    """Blur or dim a little, as a decoder does."""
    if rng.random() < 0.5:
        face = cv2.GaussianBlur(face, (0, 0), rng.uniform(0.3, 2.0))
    return cv2.convertScaleAbs(face, alpha=rng.uniform(0.93, 1.07), beta=rng.uniform(-8, 8))


def _flawless(pictures: TrainingPictures, part: int) -> Arrays:
    arrays = load(pictures, part, "image", "keypoints", "person", "plain")
    return {name: array[arrays["plain"]] for name, array in arrays.items()}


def _redrawn(vae: AutoencoderKL, pictures: TrainingPictures, part: int) -> Arrays:
    images = _flawless(pictures, part)["image"]
    if len(images):
        images[::2] = redraw(vae, images[::2], part)
    return {"image": images}


def _jitter(rng: np.random.Generator, keypoints: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(keypoints[0] - keypoints[4])
    return (keypoints + rng.normal(0, rng.uniform(0, 0.04) * size, keypoints.shape)).astype(np.float32)


@torch.no_grad()
def embed(network: Recognizer, faces: np.ndarray) -> np.ndarray:
    """Return raw embeddings (N, size) float32 of faces (N, 112, 112, 3) uint8 RGB."""
    device = network.embedding.weight.device
    chunks = torch.from_numpy(faces).permute(0, 3, 1, 2).split(256)
    return torch.cat([network(to_model(chunk.to(device))).float().cpu() for chunk in chunks]).numpy()
