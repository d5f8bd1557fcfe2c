"""What every step of a request takes beside its latents: text, face, conditioning pictures, region mask, sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from insta_depth_shared.bls import Array


def face_region_mask(bbox: np.ndarray | None, height_px: int, width_px: int) -> np.ndarray:
    """Return (1, H, W) float32: ones inside ``bbox`` (x1, y1, x2, y2 in pixels), or everywhere where it is None."""
    if bbox is None:
        return np.ones((1, height_px, width_px), np.float32)
    left, top, right, bottom = (max(int(edge), 0) for edge in bbox)
    mask = np.zeros((1, height_px, width_px), np.float32)
    mask[:, top:bottom, left:right] = 1
    return mask


def size_ids(height_px: int, width_px: int) -> np.ndarray:
    """SDXL's time_ids, (6,) float32: original size, crop's corner and target size, each (height, width)."""
    return np.array([height_px, width_px, 0, 0, height_px, width_px], np.float32)


class DepthProcessor:
    """Prepares a picture for the depth estimator as its checkpoint's ``preprocessor_config.json`` says."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor  # two seconds that tests without a processor need not wait

        self._processor = AutoImageProcessor.from_pretrained(folder, backend="pil")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return pixel_values, (1, 3, h, w) float32, of ``image``, (H, W, 3) uint8 RGB."""
        return np.asarray(self._processor(images=image, return_tensors="np")["pixel_values"])


@dataclass(frozen=True)
class Conditioning:
    """Everything that a picture is made from but its noise; arrays come from the host, tensors lie on the device.

    The first three have a row for [negative, positive], or for [positive] alone; the rest is the same for both.
    """

    encoder_hidden_states: np.ndarray
    """(R, T, X)"""
    text_embeds: np.ndarray
    """(R, P)"""
    prompt_image_emb: torch.Tensor
    """(R, 16, X)"""
    pictures: Mapping[str, Array]
    """The ControlNets', (3, H, W) in [0, 1], by the names of `CONTROL_PICTURES`"""
    region_mask: np.ndarray
    """(1, H, W), 0 or 1"""
    scales: Mapping[str, float]
    """By the names of the request's attributes"""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the picture to come."""
        height, width = self.region_mask.shape[1:]
        return height, width

    def rows(self, dtypes: Mapping[str, str], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the inputs of ``denoise_step`` that stay the same at every step, (R, …), on ``device``.

        ``dtypes``: numpy's name of the type of each input that it takes; one that it does not take is left out.
        """
        by_row = {name: getattr(self, name) for name in ("encoder_hidden_states", "text_embeds", "prompt_image_emb")}
        alike = {
            **self.pictures,
            **{name: np.array([scale]) for name, scale in self.scales.items()},
            "region_mask": self.region_mask,
            "time_ids": size_ids(*self.size_px),
        }
        moved = {
            name: torch.as_tensor(value).to(device, torch_dtype(dtypes[name]))
            for name, value in (by_row | alike).items()
            if name in dtypes
        }
        row_count = len(self.text_embeds)
        return {
            name: value if name in by_row else value.expand(row_count, *value.shape) for name, value in moved.items()
        }


def torch_dtype(numpy_name: str) -> torch.dtype:
    """Return torch's type of that name; ``numpy_name``: ``float16`` or ``float32``."""
    return getattr(torch, numpy_name)
