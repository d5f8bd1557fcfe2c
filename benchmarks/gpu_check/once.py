"""What runs once a picture, by itself, in each arithmetic that it could run in: VAE decoder and depth estimator."""

import numpy as np
import torch

from .networks import engines
from .options import Options
from .step import Tensors, device_inputs
from .torch_networks import eager_network


def once_inputs(name: str, options: Options) -> Tensors:
    """Random inputs of network ``name`` for one picture on the device, the same in every process."""
    return device_inputs(engines(options)[name], options)


def exact(name: str, options: Options) -> np.ndarray:
    """The output of network ``name`` in float32 without TF32: (1, H, W, 3) uint8 of the decoder, else (1, H, W)."""
    tf32(is_allowed=False)
    inputs = {key: tensor.float() for key, tensor in once_inputs(name, options).items()}
    (output,) = eager_network(name, options, torch.float32)(inputs).values()
    return output.cpu().numpy()


def tf32(is_allowed: bool) -> None:
    """Allow or forbid TF32 in matrix products and convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = is_allowed
    torch.backends.cudnn.allow_tf32 = is_allowed
