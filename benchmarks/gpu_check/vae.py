"""The VAE's decoder by itself, on the finished latents of one picture, in each arithmetic that it could run in."""

import numpy as np
import torch

from .networks import VAE_DECODER, engines
from .options import Options
from .step import Tensors, device_inputs
from .torch_networks import eager_network

LEVELS = 255


def vae_inputs(options: Options) -> Tensors:
    """Random latents of one picture on the device, the same in every process."""
    return device_inputs(engines(options)[VAE_DECODER], options)


def exact_picture(options: Options) -> np.ndarray:
    """The picture (1, H, W, 3) uint8 in float32 without TF32."""
    tf32(is_allowed=False)
    return eager_network(VAE_DECODER, options, torch.float32)(vae_inputs(options))["image"].cpu().numpy()


def tf32(is_allowed: bool) -> None:
    """Allow or forbid TF32 in matrix products and convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = is_allowed
    torch.backends.cudnn.allow_tf32 = is_allowed


def picture_difference(actual: torch.Tensor, expected: np.ndarray) -> float:
    """The largest difference of two uint8 pictures as a share of 255."""
    return float(np.abs(actual.cpu().numpy().astype(np.int16) - expected).max() / LEVELS)
