"""The VAE: pictures to latents an eighth as wide, and back."""

from functools import cached_property

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from ..pixels import tiles, to_model, to_pixels
from .loop import Batch, Schedule, Stage, autocast
from .pictures import Arrays, TrainingPictures, load, load_all

VAE_FACTOR = 8
_PIECE_PX = 64
_PIECES, _OF_FACES = 0.8, 0.6
"""Share of the steps with crops of pictures, and of the crops around a face, which is hardest to draw."""
_FACE_WEIGHT, _MOST_FACE_WEIGHT = 2, 8
_USUAL_FACE_PX = 56
"""Height of a face that has the smaller weight; of one that is smaller a pixel weighs more."""
_EDGES = 0.5
_DIVERGENCE = 2e-4
_FARTHEST_OFF = 0.3
"""In standard deviations of the latents."""
_AT_ONCE = 32


class VaeStage(Stage):
    """Absolute error of pixels and of their gradients, and a small KL divergence (arXiv:2112.10752).

    The face has a larger weight, in place of a perceptual loss.
    """

    name = "vae"

    def __init__(self, vae: AutoencoderKL, pictures: TrainingPictures, schedule: Schedule) -> None:
        self.vae, self.schedule, self._drawn = vae, schedule, pictures

    @cached_property
    def _parts(self) -> list[Arrays]:
        return list(load_all(self._drawn, "image", "box"))

    @property
    def trained(self) -> nn.Module:
        """The whole VAE."""
        return self.vae

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return ``image`` (B, 3, H, W) uint8 and the weight of its pixels (B, 1, H, W); whole pictures or crops."""
        part = self._parts[rng.integers(len(self._parts))]
        pieces = rng.random() < _PIECES
        shrunk = part["image"][0].shape[0] * part["image"][0].shape[1] // _PIECE_PX**2
        count = self.schedule.batch if pieces else max(1, self.schedule.batch // shrunk)
        chosen = rng.integers(len(part["image"]), size=count)
        drawn = [_with_weight(part["image"][index], part["box"][index]) for index in chosen]
        if pieces:
            drawn = [_cut(rng, picture, part["box"][index]) for picture, index in zip(drawn, chosen, strict=True)]
        both = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)
        return {"image": both[:, :3], "weight": both[:, 3:]}

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the three terms."""
        image, weight = to_model(batch["image"]), batch["weight"].float()
        latents = self.vae.encode(image).latent_dist
        decoded = self.vae.decode(latents.sample()).sample.float()
        divergence = _DIVERGENCE * latents.kl().float().mean() / latents.mean[0].numel()
        return drawing_errors(decoded, image, weight) | {"divergence": divergence}

    def sheet(self) -> np.ndarray:
        """Return pictures above their reconstructions."""
        image = torch.from_numpy(self._parts[0]["image"][::64][:12]).permute(0, 3, 1, 2).to(self.vae.device)
        decoded = to_pixels(self.vae.decode(self.vae.encode(to_model(image)).latent_dist.mean).sample)
        return tiles(torch.cat([image, decoded]), columns=len(image))


def drawing_errors(decoded: torch.Tensor, image: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the error of pixels (B, 3, H, W) and of their gradients; ``weight``: (B, 1, H, W)."""
    edges = torch.stack([_edge_error(decoded, image, weight, axis) for axis in (2, 3)])
    return {"pixels": (weight * (decoded - image).abs()).mean(), "edges": _EDGES * edges.sum()}


def disturbed(latents: torch.Tensor, scale: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Perturb latents (B, 4, h, w), as denoised ones are inexact; ``scale`` brings them to unit deviation.

    The noise is drawn on the device of ``generator``, or without one on that of the latents.
    """
    device = generator.device if generator else latents.device
    noise = torch.randn(latents.shape, generator=generator, device=device)
    off = _FARTHEST_OFF * torch.rand(len(latents), 1, 1, 1, generator=generator, device=device) * noise
    return latents + off.to(latents.device) / scale


@torch.no_grad()
def scaling_factor(vae: AutoencoderKL, pictures: TrainingPictures) -> float:
    """Return the factor that brings latents to unit deviation."""
    images = load(pictures, 0, "image")["image"][:256]
    latents = vae.encode(to_model(torch.from_numpy(images).permute(0, 3, 1, 2).to(vae.device))).latent_dist.mean
    return round(1 / float(latents.std()), 5)


@torch.no_grad()
def redraw(vae: AutoencoderKL, images: np.ndarray, seed: int) -> np.ndarray:
    """Return (N, H, W, 3) uint8, decoded from perturbed latents."""
    generator = torch.Generator().manual_seed(seed)
    redrawn = []
    for chunk in torch.from_numpy(images).permute(0, 3, 1, 2).split(_AT_ONCE):
        with autocast(vae.device):
            latents = vae.encode(to_model(chunk.to(vae.device))).latent_dist.mean.float()
            decoded = vae.decode(disturbed(latents, vae.config.scaling_factor, generator)).sample
        redrawn.append(to_pixels(decoded).permute(0, 2, 3, 1).cpu())
    return torch.cat(redrawn).numpy()


def _with_weight(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return (H, W, 4) uint8: the picture and its pixels' weights."""
    weight = np.ones((*image.shape[:2], 1), np.uint8)
    x1, y1, x2, y2 = box.astype(int).clip(0)
    weight[y1:y2, x1:x2] = np.clip(_FACE_WEIGHT * _USUAL_FACE_PX / max(y2 - y1, 1), _FACE_WEIGHT, _MOST_FACE_WEIGHT)
    return np.concatenate([image, weight], axis=-1)


def _cut(rng: np.random.Generator, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return a square crop, around the face or anywhere."""
    free = np.array(picture.shape[:2]) - _PIECE_PX
    top, left = rng.integers(free + 1)
    if rng.random() < _OF_FACES:
        middle = (box[[1, 0]] + box[[3, 2]]) / 2 - _PIECE_PX / 2 + rng.normal(0, _PIECE_PX / 5, 2)
        top, left = middle.round().astype(int).clip(0, free)
    return picture[top : top + _PIECE_PX, left : left + _PIECE_PX]


def _edge_error(decoded: torch.Tensor, image: torch.Tensor, weight: torch.Tensor, axis: int) -> torch.Tensor:
    difference = (decoded.diff(dim=axis) - image.diff(dim=axis)).abs()
    return (weight.narrow(axis, 0, difference.shape[axis]) * difference).mean()
