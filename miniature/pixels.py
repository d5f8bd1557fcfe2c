"""Pixels as networks take them, and back."""

import numpy as np
import torch


def to_model(image: torch.Tensor) -> torch.Tensor:
    """uint8 → float32 in [-1, 1]."""
    return image.float() / 127.5 - 1


def to_pixels(image: torch.Tensor) -> torch.Tensor:
    """[-1, 1] → uint8."""
    return ((image.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def tiles(images: torch.Tensor, columns: int) -> np.ndarray:
    """Return (N, 3, H, W) uint8 as one picture (rows × H, columns × W, 3)."""
    rows = images.cpu().unflatten(0, (-1, columns))
    return rows.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2).numpy()
