"""InstantID's ``ip-adapter.bin``: the projector, and the face attention's keys and values."""

import torch

from ..errors import CheckpointError
from .layout import Checkpoint
from .weights import load_pickle

PROJECTOR, ATTENTION = "image_proj", "ip_adapter"


def load_ip_adapter(checkpoint: Checkpoint) -> dict[str, dict[str, torch.Tensor]]:
    """Return InstantID's ``{"image_proj": …, "ip_adapter": …}``, mapped from the file and not yet read.

    Raises `CheckpointError` if the file has other content.
    """
    path = checkpoint.ip_adapter
    content = load_pickle(path)
    if not isinstance(content, dict) or set(content) != {PROJECTOR, ATTENTION}:
        found = sorted(map(str, content))[:3] if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path} holds {found}; InstantID's ip-adapter.bin holds {[PROJECTOR, ATTENTION]}")
    for part, tensors in content.items():
        if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
            raise CheckpointError(f"{path}: {part} holds something else than named tensors")
    return content
