"""Adversarial training of the VAE's decoder on frozen latents: it learns details that the mean would blur."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from ..pixels import to_model
from .loop import Batch, Schedule
from .pictures import TrainingPictures
from .vae import VaeStage, disturbed, drawing_errors

_LAYERS = ((3, 32, 4, 2), (32, 64, 4, 2), (64, 128, 4, 2), (128, 128, 3, 1))
"""The discriminator's convolutions: channels in and out, width, stride."""
_SLOPE = 0.2
_DRAWN, _MATCHING = 0.6, 0.6
"""Strength of these terms, relative to the reconstruction error's gradient."""


class Discriminator(nn.Module):
    """Classifies each patch of a picture as drawn by the world or by a decoder (arXiv:1611.07004)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(*layer, padding=1) for layer in _LAYERS)
        self.verdict = nn.Conv2d(_LAYERS[-1][1], 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """image (B, 3, H, W) in [-1, 1] → score (B, 1, H / 8, W / 8), high for the world's; each layer's features."""
        features = []
        for layer in self.layers:
            image = F.leaky_relu(layer(image), _SLOPE)
            features.append(image)
        return self.verdict(image), features


class DecoderStage(VaeStage):
    """Reconstruction errors and a discriminator, as in the published VAE's training (arXiv:2112.10752).

    Errors alone neglect what covers few pixels, such as a mouth. Latents are perturbed, as denoised ones are. The
    encoder is frozen, so that existing latents stay valid.
    """

    name = "decoder"

    def __init__(self, vae: AutoencoderKL, pictures: TrainingPictures, schedule: Schedule) -> None:
        super().__init__(vae, pictures, schedule)
        self._discriminator = Discriminator()
        parts = {"decoder": vae.decoder, "post_quant": vae.post_quant_conv, "discriminator": self._discriminator}
        self._trained = nn.ModuleDict(parts)

    @property
    def trained(self) -> nn.Module:
        """The decoder, and the discriminator, which is not exported."""
        return self._trained

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the decoder's terms and the discriminator's; neither network is trained by the other's."""
        image = to_model(batch["image"])
        with torch.no_grad():
            latents = self.vae.encode(image).latent_dist.mean.float()
        decoded = self.vae.decode(disturbed(latents, self.vae.config.scaling_factor)).sample.float()
        verdict, wanted = self._discriminator(image)
        with _fixed(self._discriminator):
            opinion, seen = self._discriminator(decoded)
        matching = torch.stack([F.l1_loss(one, other.detach()) for one, other in zip(seen, wanted, strict=True)]).mean()
        refused, _ = self._discriminator(decoded.detach())
        errors = drawing_errors(decoded, image, batch["weight"].float())
        pull = _pull(torch.stack([*errors.values()]).sum(), decoded)
        return errors | {
            "drawn": _as_strong(_DRAWN * pull, -opinion.float().mean(), decoded),
            "matching": _as_strong(_MATCHING * pull, matching.float(), decoded),
            "told": F.relu(1 - verdict.float()).mean() + F.relu(1 + refused.float()).mean(),
        }


def _as_strong(pull: torch.Tensor, term: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Scale ``term`` so that its gradient on ``decoded`` has that strength (arXiv:2012.09841)."""
    return pull / _pull(term, decoded).clamp(min=1e-8) * term


def _pull(term: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return the norm of the gradient of ``term`` with respect to ``decoded``."""
    return torch.autograd.grad(term, decoded, retain_graph=True)[0].norm()


@contextmanager
def _fixed(network: nn.Module) -> Iterator[None]:
    """Freeze ``network`` inside the block; gradients still flow to its input."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
