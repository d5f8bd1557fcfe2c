"""The base: UNet and text encoders, trained together on the world's prompts."""

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from export.networks.text_encoder import TextEncoder, TextEncoder2

from ..pixels import tiles, to_pixels
from .denoising_loss import Denoising, denoise
from .examples import Examples
from .loop import Batch, Schedule, Stage
from .pictures import Arrays

_NO_TEXT = 0.1
SHOWN = (
    "Photo of a woman wearing a Superman costume",
    "Photo of a woman wearing a Wonder Woman costume at the beach",
    "Photo of a man wearing a red hoodie in a city",
    "Photo of a smiling man wearing an astronaut costume at night",
    "Photo of a woman with long pink hair wearing a yellow dress in a forest",
    "Photo of a person wearing a green suit and tie in front of a plain white wall",
    "Photo of a man with a beard wearing a pirate costume in the snow",
    "Photo of a woman wearing a Spider-Man costume in a room",
    "Photo of a person wearing a black t-shirt on a plain orange background",
    "Pencil sketch of a woman wearing a Batman costume",
    "Black and white photo of a man wearing a Santa costume",
    "lowquality, badquality, Photo of a man wearing a blue hoodie",
)


class TextEncoders(nn.Module):
    """Both encoders, as they are exported."""

    def __init__(self, first: CLIPTextModel, second: CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.first, self.second = TextEncoder(first), TextEncoder2(second)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """tokens (B, 77) int64, padded with the end token → encoder_hidden_states (B, 77, X), text_embeds (B, P)."""
        hidden_states, text_embeds = self.second(as_second_reads(tokens))
        return torch.cat([self.first(tokens), hidden_states], dim=-1), text_embeds


def as_second_reads(tokens: torch.Tensor) -> torch.Tensor:
    """Return the tokens with the second tokenizer's padding (0) after the first end token."""
    end = tokens.max()
    after_end = (tokens == end).cumsum(1) > 1
    return tokens.masked_fill(after_end, 0)


class TextToImage(Stage):
    """Text is dropped at random, for classifier-free guidance."""

    name = "text_to_image"

    def __init__(
        self, unet: UNet2DConditionModel, text: TextEncoders, examples: Examples, vae: AutoencoderKL,
        tokenizer: CLIPTokenizer, schedule: Schedule,
    ) -> None:  # fmt: skip
        self.schedule = schedule
        self.unet, self.text, self._examples, self._vae, self._tokenizer = unet, text, examples, vae, tokenizer
        self._trained = nn.ModuleDict({"unet": unet, "text": text})
        self._denoising = Denoising(vae.device)

    @property
    def trained(self) -> nn.Module:
        """UNet and text encoders."""
        return self._trained

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return what `text_batch` returns."""
        return text_batch(self._examples.draw(rng, self.schedule.batch), rng)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the denoising loss."""
        latents = batch["latents"].float() * self._vae.config.scaling_factor
        hidden_states, text_embeds = self.text(batch["tokens"])
        keep = (torch.rand(len(latents), device=latents.device) >= _NO_TEXT).float()
        conditions = {
            "encoder_hidden_states": hidden_states * keep[:, None, None],
            "added_cond_kwargs": {"text_embeds": text_embeds * keep[:, None], "time_ids": time_ids(latents)},
        }

        def predict(noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            return self.unet(noisy, timestep[:, 0], **conditions).sample

        return {"noise": self._denoising.attempt(predict, latents).loss()}

    def sheet(self) -> np.ndarray:
        """Return two pictures for each of `SHOWN`."""
        sentences = [*SHOWN, *SHOWN]
        tokens = self._tokenizer(sentences, padding="max_length", return_tensors="pt").input_ids.to(self._vae.device)
        hidden_states, text_embeds = self.text(tokens)
        noise = torch.randn(len(tokens), 4, 16, 16, generator=torch.Generator().manual_seed(0)).to(self._vae.device)
        conditions = {
            "encoder_hidden_states": torch.cat([torch.zeros_like(hidden_states), hidden_states]),
            "added_cond_kwargs": {
                "text_embeds": torch.cat([torch.zeros_like(text_embeds), text_embeds]),
                "time_ids": time_ids(noise).repeat(2, 1),
            },
        }
        latents = denoise(lambda rows, t: self.unet(rows, t[:, 0], **conditions).sample, noise)
        return tiles(to_pixels(self._vae.decode(latents / self._vae.config.scaling_factor).sample), len(SHOWN))


def text_batch(examples: Arrays, rng: np.random.Generator) -> Batch:
    """Return ``latents`` (B, 4, h, w) float16 and ``tokens`` (B, 77) int64 of one of each picture's prompts."""
    rows = np.arange(len(examples["latents"]))
    tokens = examples["tokens"][rows, rng.integers(examples["tokens"].shape[1], size=len(rows))]
    return {"latents": torch.from_numpy(examples["latents"]), "tokens": torch.from_numpy(tokens.astype(np.int64))}


def time_ids(latents: torch.Tensor) -> torch.Tensor:
    """Return SDXL's sizes (B, 6) of pictures eight times as large as ``latents`` (B, 4, h, w)."""
    height, width = (8.0 * side for side in latents.shape[-2:])
    return torch.tensor([[height, width, 0, 0, height, width]], device=latents.device).repeat(len(latents), 1)
