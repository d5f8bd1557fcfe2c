"""InstantID: projector, face attention and IdentityNet, with the base frozen (arXiv:2401.07519)."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from export.facts import unet_residuals
from export.networks.controlnet import IdentityNet, TextControlNet
from export.networks.face_attention import FaceAttention
from export.networks.identity_projector import IdentityProjector
from export.networks.unet import UNet

from ..pixels import tiles, to_pixels
from .denoising_loss import Attempt, Denoising, denoise
from .examples import Examples
from .latent_recognizer import LatentRecognizer, face_crops
from .loop import Batch, Schedule, Stage
from .pictures import Arrays
from .text_to_image import TextEncoders, text_batch, time_ids
from .vae import VAE_FACTOR

_NO_TEXT, _NO_FACE, _NEITHER = 0.05, 0.05, 0.07
_WITHOUT_REGION = 0.3
_IP_ADAPTER_SCALES, _IDENTITYNET_SCALES = (0.7, 1.6), (0.5, 1.1)
"""Training scales of the face attention, mostly above the documented 0.8: guidance amplifies the face."""
_ABSENT = 0.08
LEAST_SNR = 0.3
_LIKENESS_WEIGHT = 0.25
_SHOWN = 12


@dataclass(frozen=True)
class Parts:
    """The networks of one denoising step, as they are exported."""

    vae: AutoencoderKL
    text: TextEncoders
    unet: UNet
    projector: IdentityProjector
    identitynet: IdentityNet
    depth: TextControlNet

    @classmethod
    def around(
        cls, unet: UNet2DConditionModel, text: TextEncoders, vae: AutoencoderKL, projector: IdentityProjector,
        identitynet: nn.Module, depth: nn.Module,
    ) -> "Parts":  # fmt: skip
        """Wrap diffusers' networks; ``unet`` has its face attention already."""
        levels = [residual.level for residual in unet_residuals(unet.config)]
        levels.append(levels[-1])
        return cls(
            vae,
            text,
            UNet(unet, VAE_FACTOR, len(levels)),
            projector,
            IdentityNet(identitynet, [VAE_FACTOR * 2**level for level in levels]),
            TextControlNet(depth),
        )

    @property
    def face_attention(self) -> nn.ModuleList:
        """The face's projections, in the order of the cross-attention layers."""
        processors = self.unet.unet.attn_processors.values()
        return nn.ModuleList([each for each in processors if isinstance(each, FaceAttention)])


class Step:
    """One denoising step under a batch's conditions, called with noisy latents and timesteps."""

    def __init__(self, parts: Parts, batch: Batch) -> None:
        self._parts = parts
        hidden_states, text_embeds = parts.text(batch["tokens"])
        self._hidden_states = hidden_states * batch["with_text"][:, None, None]
        self._text_embeds = text_embeds * batch["with_text"][:, None]
        self._tokens = parts.projector(batch["face"].float() * batch["with_face"][:, None])
        self._region = batch["region"].float()
        self._keypoints = batch["keypoints"].float() / 255
        self._depth = (batch["depth"].float() / 255).expand(-1, 3, -1, -1) if "depth" in batch else None
        self._scales = {name: batch[name].float() for name in ("ip_adapter", "identitynet", "depth_scale")}

    def __call__(self, noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """noisy (B, 4, h, w), timestep (B, 1) → noise (B, 4, h, w)."""
        sizes = time_ids(noisy)
        shared = (self._text_embeds, sizes)
        controls = self._parts.identitynet(
            noisy, timestep, self._tokens, self._keypoints, *shared, self._scales["identitynet"], self._region
        )
        depth = (noisy.new_zeros(()),) * len(controls)
        if self._depth is not None:
            depth = self._parts.depth(
                noisy, timestep, self._hidden_states, self._depth, *shared, self._scales["depth_scale"]
            )
        face = (self._tokens, self._scales["ip_adapter"], self._region)
        return self._parts.unet(noisy, timestep, self._hidden_states, *face, *shared, *controls, *depth)


class IdentityStage(Stage):
    """The face of another picture of the same person; the keypoints of this one."""

    name = "identity"
    face_weight = 8.0
    """Loss weight of a cell inside the face, relative to one outside."""

    def __init__(self, parts: Parts, examples: Examples, recognizer: LatentRecognizer, schedule: Schedule) -> None:
        self.parts, self.schedule, self._examples, self._recognizer = parts, schedule, examples, recognizer
        self._denoising = Denoising(parts.vae.device, LEAST_SNR)
        self._trained = nn.ModuleDict(
            {"projector": parts.projector, "face_attention": parts.face_attention, "identitynet": parts.identitynet}
        )

    @property
    def trained(self) -> nn.Module:
        """InstantID's three."""
        return self._trained

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return a step's conditions, each dropped at random."""
        examples = self._examples.draw(rng, self.schedule.batch)
        return text_batch(examples, rng) | _conditions(examples, rng) | self._depth(examples, rng)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the denoising loss, weighted towards the face, and the distance from the wanted person."""
        attempt = self._attempt(batch)
        unlike = 1 - self._recognizer.likeness(attempt.clean, batch["crop"], batch["face"])
        asked = attempt.signal * batch["with_face"] * (batch["ip_adapter"] + batch["identitynet"])[:, 0].clamp(max=1)
        return {
            "noise": self._towards_face(attempt, batch),
            "unlike": _LIKENESS_WEIGHT * (asked * unlike).sum() / asked.sum().clamp(min=1),
        }

    def _attempt(self, batch: Batch) -> Attempt:
        latents = batch["latents"].float() * self.parts.vae.config.scaling_factor
        return self._denoising.attempt(Step(self.parts, batch), latents)

    def _towards_face(self, attempt: Attempt, batch: Batch) -> torch.Tensor:
        """Return the denoising loss, in which the face's cells weigh more."""
        inside = F.avg_pool2d(batch["box"].float(), VAE_FACTOR)
        return attempt.loss(1 + (self.face_weight - 1) * inside)

    def sheet(self) -> np.ndarray:
        """Return the pose pictures above the generated ones for the same prompt and face."""
        shown = self._shown()
        nothing = torch.zeros_like(shown["with_text"])
        negative = shown | {"with_text": nothing, "with_face": nothing}
        both = {name: torch.cat([negative[name], shown[name]]) for name in shown}
        noise = torch.randn(shown["latents"].shape, generator=torch.Generator().manual_seed(0))
        return self._above(shown, denoise(Step(self.parts, both), noise.to(nothing.device)))

    def _shown(self) -> Batch:
        """Return what a sheet shows, at the documented scales, with all text and faces."""
        batch = self.batch(np.random.default_rng(7))
        batch = {name: value[:_SHOWN].to(self.parts.vae.device) for name, value in batch.items()}
        ones = torch.ones_like(batch["with_text"])
        scales = {"ip_adapter": 0.8, "identitynet": 0.8, "depth_scale": 0.5}
        scaled = {name: scale * ones[:, None] for name, scale in scales.items()}
        return batch | scaled | {"with_text": ones, "with_face": ones}

    def _above(self, shown: Batch, latents: torch.Tensor) -> np.ndarray:
        """Return the pose pictures of ``shown`` above those of ``latents`` (B, 4, h, w), scaled."""
        vae = self.parts.vae
        truth = vae.decode(shown["latents"].float()).sample
        return tiles(to_pixels(torch.cat([truth, vae.decode(latents / vae.config.scaling_factor).sample])), len(truth))

    def _depth(self, examples: Arrays, rng: np.random.Generator) -> Batch:
        scale = np.zeros((len(examples["latents"]), 1), np.float32)
        return {"depth_scale": torch.from_numpy(scale)}


def random_scales(rng: np.random.Generator, count: int, between: tuple[float, float]) -> torch.Tensor:
    """Return (count, 1) float32: mostly a scale ``between`` two around the documented default, sometimes 0."""
    scale = rng.uniform(*between, (count, 1)) * (rng.random((count, 1)) >= _ABSENT)
    return torch.from_numpy(scale.astype(np.float32))


def _conditions(examples: Arrays, rng: np.random.Generator) -> Batch:
    from denoising.conditioning import face_region_mask
    from denoising.control_pictures import draw_face_keypoints

    count, cells = len(examples["latents"]), examples["latents"].shape[2:]
    size = [VAE_FACTOR * side for side in cells]
    noise = rng.normal(0, 0.02, (count, 7, 2)).astype(np.float32) * _face_px(examples["box"])[:, None, None]
    keypoints = examples["keypoints"] + 0.5 * noise[:, :5]
    boxes = examples["box"] + noise[:, 5:].reshape(count, 4)
    drawn = np.stack([draw_face_keypoints(points, *size) for points in keypoints])
    inside = np.stack([face_region_mask(box, *size) for box in boxes]).astype(np.uint8)
    everywhere = rng.random(count) < _WITHOUT_REGION
    dropped = rng.random(count)
    text = (dropped >= _NO_TEXT + _NEITHER).astype(np.float32)
    face = ((dropped >= _NEITHER) & (dropped < 1 - _NO_FACE)).astype(np.float32)
    return {
        "face": torch.from_numpy(examples["face"]),
        "keypoints": torch.from_numpy(drawn).permute(0, 3, 1, 2),
        "crop": torch.from_numpy(face_crops(examples["keypoints"], cells)),
        "box": torch.from_numpy(inside),
        "region": torch.from_numpy(np.maximum(inside, everywhere[:, None, None, None])),
        "with_text": torch.from_numpy(text),
        "with_face": torch.from_numpy(face),
        "ip_adapter": random_scales(rng, count, _IP_ADAPTER_SCALES),
        "identitynet": random_scales(rng, count, _IDENTITYNET_SCALES),
    }


def _face_px(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).mean(axis=1)
