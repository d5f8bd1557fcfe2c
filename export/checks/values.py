"""Whether every weight is a number in the type that its engine has."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ..checkpoint import Checkpoint, load_ip_adapter
from ..checkpoint.weights import load_tensors
from ..engines import PUBLISHED_AS_ONNX, ROW_OF
from ..errors import CheckpointError
from ..networks.loading import network_files
from .faces import check_face_values
from .keys import network_parts


def check_values(checkpoint: Checkpoint, engine: str, dtype: torch.dtype) -> None:
    """Raise `CheckpointError` where a weight of ``engine`` is NaN or infinite, or beyond what ``dtype`` holds.

    Reads the weights once, mapped, one tensor at a time.
    """
    if engine in PUBLISHED_AS_ONNX:
        check_face_values(ROW_OF[engine].source.path(checkpoint))
        return
    for path, weights in _weights(checkpoint, engine):
        for name, tensor in weights.items():
            if fault := _fault(tensor, dtype):
                raise CheckpointError(f"{path}: the weight {name} has values that are {fault}")


def _fault(tensor: torch.Tensor, dtype: torch.dtype) -> str | None:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return None
    low, high = torch.aminmax(tensor if tensor.element_size() > 1 else tensor.float())  # NaN goes through
    largest = max(-float(low), float(high))
    if not math.isfinite(float(low)) or not math.isfinite(largest):
        return "NaN or infinite"
    return f"too large for {str(dtype).removeprefix('torch.')}" if largest > torch.finfo(dtype).max else None


def _weights(checkpoint: Checkpoint, engine: str) -> Iterator[tuple[Path, Mapping[str, torch.Tensor]]]:
    adapter, parts = ROW_OF[engine].source.adapter, network_parts(checkpoint)
    if adapter:
        yield checkpoint.ip_adapter, load_ip_adapter(checkpoint)[adapter]
    if engine in parts:
        for path in network_files(*parts[engine]):
            yield path, load_tensors(path)
