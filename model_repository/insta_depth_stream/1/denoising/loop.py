"""The denoising loop of one request, over any network that predicts noise.

`denoise` is the loop; `Denoising` is its state, which the ticker drives for many requests at once.
Rows are in the order [negative, positive] where there is guidance, else [positive].
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from insta_depth_shared.manifest import Manifest

from .request import GenerationRequest
from .schedulers import predicted_original, step_options

Rows = Mapping[str, np.ndarray]


class Denoising:
    """One request's latents on their way from noise to a picture.

    ``scheduler``: one of its own, from `prepare_scheduler`.
    ``conditioning``: the inputs of ``denoise_step`` that stay the same at every step, one or two rows each.
    """

    def __init__(
        self,
        request: GenerationRequest,
        scheduler: Any,
        conditioning: Rows,
        size_px: tuple[int, int],
        manifest: Manifest,
    ) -> None:
        self.conditioning = conditioning
        self.step = 0
        self._guidance_scale = request.guidance_scale
        self._dtypes = manifest.denoise_step_inputs
        self._scheduler = scheduler
        generator = torch.Generator().manual_seed(request.seed)
        self._step_options = step_options(scheduler, generator)
        height, width = (side // manifest.latents.scale_factor for side in size_px)
        noise = torch.randn((1, manifest.latents.channels, height, width), generator=generator)
        self._latents = noise * scheduler.init_noise_sigma
        self._foreseen = self._latents

    @property
    def row_count(self) -> int:
        """Rows that this request adds to a call: 2 with guidance, else 1."""
        return len(self.conditioning["text_embeds"])

    @property
    def shape_key(self) -> tuple[int, ...]:
        """Height and width of the latents and number of tokens: requests that agree can share a call."""
        return (*self._latents.shape[2:], self.conditioning["encoder_hidden_states"].shape[1])

    @property
    def step_count(self) -> int:
        """Calls that it takes in all; some schedulers need more than ``num_inference_steps``."""
        return len(self._scheduler.timesteps)

    @property
    def is_finished(self) -> bool:
        """Whether every step is done."""
        return self.step == self.step_count

    @property
    def latents(self) -> np.ndarray:
        """(1, C, h, w) float32: what ``vae_decoder`` takes, once finished."""
        return self._latents.numpy()

    @property
    def foreseen(self) -> np.ndarray:
        """(C, h, w) float32: the latents that the last step foresees at the end of the way."""
        return self._foreseen[0].numpy()

    def rows(self) -> dict[str, np.ndarray]:
        """Return the inputs that change from step to step: sample (R, C, h, w) and timestep (R, 1)."""
        timestep = self._scheduler.timesteps[self.step]
        sample = self._scheduler.scale_model_input(self._latents, timestep).numpy()
        return {
            "sample": np.repeat(sample.astype(self._dtypes["sample"]), self.row_count, axis=0),
            "timestep": np.full((self.row_count, 1), timestep.item(), self._dtypes["timestep"]),
        }

    def advance(self, noise_pred: np.ndarray) -> None:
        """Take one step with the prediction for this request's rows, (R, C, h, w), in float32."""
        guided = guide(torch.from_numpy(noise_pred.astype(np.float32)), self._guidance_scale)
        timestep = self._scheduler.timesteps[self.step]
        output = self._scheduler.step(guided, timestep, self._latents, **self._step_options)
        self._latents = output.prev_sample
        self._foreseen = predicted_original(self._scheduler, output)
        self.step += 1


def guide(noise_pred: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Return (1, …) from [negative, positive] by classifier-free guidance; a single row stays as it is."""
    if len(noise_pred) == 1:
        return noise_pred
    negative, positive = noise_pred.chunk(2)
    return negative + guidance_scale * (positive - negative)


def denoise(denoising: Denoising, predict_noise: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Iterator[Denoising]:
    """Take one request through all its steps, yielding after each.

    ``predict_noise``: the inputs of ``denoise_step`` by name → noise_pred (R, C, h, w).
    """
    while not denoising.is_finished:
        denoising.advance(predict_noise({**denoising.conditioning, **denoising.rows()}))
        yield denoising


def preview(denoising: Denoising, manifest: Manifest) -> np.ndarray:
    """Return the picture that the last step foresees, one pixel a latent cell: (h, w, 3) uint8 RGB."""
    weight, bias = (np.array(part) for part in (manifest.latents.preview_weight, manifest.latents.preview_bias))
    colours = np.einsum("rc,chw->hwr", weight, denoising.foreseen) + bias
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)
