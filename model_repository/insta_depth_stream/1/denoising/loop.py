"""The denoising loop of one request, over any network that predicts noise.

`denoise` is the loop; `Denoising` is its state, which the step batcher drives for many requests at once.
Rows are in the order [negative, positive] where there is guidance, else [positive].
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from insta_depth_shared.manifest import Manifest

from .conditioning import torch_dtype
from .request import PipelineRequest
from .trajectory import PictureStart, Trajectory
from .windows import Window

Rows = Mapping[str, torch.Tensor]
"""The inputs of ``denoise_step`` by name, (R, …), all on one device."""


class Denoising:
    """One request's latents on their way from noise to a picture, on the device of its conditioning.

    ``scheduler``: one of its own, from `prepare_scheduler`.
    ``conditioning``: the inputs of ``denoise_step`` that stay the same while all controls act, one or two rows each.
    ``start``: the picture to start from; None: pure noise.
    The noise is drawn on the host, so that a seed means one picture on every device.
    """

    def __init__(
        self,
        request: PipelineRequest,
        scheduler: Any,
        conditioning: Rows,
        size_px: tuple[int, int],
        manifest: Manifest,
        start: PictureStart | None = None,
    ) -> None:
        self._all_acting = self._conditioning = conditioning
        self._phase: tuple[bool, ...] = ()
        self._windows = request.windows
        self._guidance = Window(end=request.guidance_end)
        self._guidance_scale = request.guidance_scale
        self._dtypes = manifest.denoise_step_inputs
        self._device = conditioning["text_embeds"].device
        generator = torch.Generator().manual_seed(request.seed)
        shape = (1, manifest.latents.channels, *(side // manifest.latents.scale_factor for side in size_px))

        def draw() -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(self._device)

        if start is None:
            self._trajectory = Trajectory(scheduler, draw(), generator)
        else:
            self._trajectory = start.trajectory(scheduler, request.num_inference_steps, draw, generator)
        rows = [self._row_count_at(step) for step in range(self.step_count)]
        self._rows_left = list(accumulate(reversed(rows), initial=0))

    @property
    def row_count(self) -> int:
        """Rows that this request adds to the next call: 2 with guidance, else 1."""
        return self._row_count_at(self.step)

    @property
    def rows_left(self) -> int:
        """Rows of all calls to come."""
        return self._rows_left[self.step_count - self.step]

    def _row_count_at(self, step: int) -> int:
        return len(self._all_acting["text_embeds"]) if self._guidance.holds(step, self.step_count) else 1

    @property
    def conditioning(self) -> Rows:
        """The inputs of the next call that stay the same while the same controls act: one object until they change.

        A control that does not act has the scale 0; without guidance the positive row is left.
        """
        phase = tuple(window.holds(self.step, self.step_count) for window in (self._guidance, *self._windows.values()))
        if phase != self._phase:
            self._phase, self._conditioning = phase, self._acting(*phase)
        return self._conditioning

    def _acting(self, is_guided: bool, *controls: bool) -> Rows:
        if is_guided and all(controls):
            return self._all_acting
        silent = {name for name, acts in zip(self._windows, controls, strict=True) if not acts}
        rows = {name: torch.zeros_like(value) if name in silent else value for name, value in self._all_acting.items()}
        return rows if is_guided else {name: value[-1:] for name, value in rows.items()}

    @property
    def shape_key(self) -> tuple[int, ...]:
        """Height and width of the latents and number of tokens: requests that agree can share a call."""
        return (*self.latents.shape[2:], self._all_acting["encoder_hidden_states"].shape[1])

    @property
    def step(self) -> int:
        """Calls that are done."""
        return self._trajectory.step

    @property
    def step_count(self) -> int:
        """Calls that it takes in all; some schedulers need more than ``num_inference_steps``."""
        return len(self._trajectory.timesteps)

    @property
    def is_finished(self) -> bool:
        """Whether every step is done."""
        return self._trajectory.is_finished

    @property
    def latents(self) -> torch.Tensor:
        """(1, C, h, w) float32: what ``vae_decoder`` takes, once finished."""
        return self._trajectory.latents

    @property
    def predicted_original(self) -> torch.Tensor:
        """(C, h, w) float32: the clean latents that the last step predicts."""
        return self._trajectory.predicted_original[0]

    def rows(self) -> dict[str, torch.Tensor]:
        """Return the inputs that change from step to step: sample (R, C, h, w) and timestep (R, 1)."""
        sample, timestep = self._trajectory.network_input(), self._trajectory.timestep
        dtypes = {name: torch_dtype(self._dtypes[name]) for name in ("sample", "timestep")}
        return {
            "sample": sample.to(dtypes["sample"]).expand(self.row_count, -1, -1, -1),
            "timestep": torch.full((self.row_count, 1), timestep, dtype=dtypes["timestep"], device=self._device),
        }

    def advance(self, noise_pred: torch.Tensor) -> None:
        """Take one step with the prediction for this request's rows, (R, C, h, w), in float32."""
        self._trajectory.advance(guide(noise_pred.float(), self._guidance_scale))


def guide(noise_pred: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Return (1, …) from [negative, positive] by classifier-free guidance; a single row stays as it is."""
    if len(noise_pred) == 1:
        return noise_pred
    negative, positive = noise_pred.chunk(2)
    return negative + guidance_scale * (positive - negative)


def denoise(
    denoising: Denoising, predict_noise: Callable[[dict[str, torch.Tensor]], torch.Tensor]
) -> Iterator[Denoising]:
    """Take one request through all its steps, yielding after each.

    ``predict_noise``: the inputs of ``denoise_step`` by name → noise_pred (R, C, h, w).
    """
    while not denoising.is_finished:
        denoising.advance(predict_noise({**denoising.conditioning, **denoising.rows()}))
        yield denoising


def preview(denoising: Denoising, manifest: Manifest) -> np.ndarray:
    """Return the picture that the last step predicts, one pixel a latent cell: (h, w, 3) uint8 RGB."""
    weight, bias = (np.array(part) for part in (manifest.latents.preview_weight, manifest.latents.preview_bias))
    colours = np.einsum("rc,chw->hwr", weight, denoising.predicted_original.cpu().numpy()) + bias
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)
