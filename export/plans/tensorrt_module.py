"""Access to TensorRT through polygraphy, with a clear error if it is missing."""

import os
from typing import Any

from ..errors import ExportError


class TensorRTMissing(ExportError):
    """TensorRT, or a GPU to build for, is missing."""


def require_tensorrt() -> Any:
    """Return the module ``tensorrt``; raises `TensorRTMissing` with what to do."""
    try:
        import tensorrt
    except ImportError as error:
        raise TensorRTMissing(
            "TensorRT is not installed here: run this in the image of deploy/Dockerfile's target `export`, "
            "or install the `tensorrt` package of the version that your Triton has"
        ) from error
    require_gpu()
    return tensorrt


def is_missing() -> bool:
    """Whether `require_tensorrt` would raise."""
    try:
        require_tensorrt()
    except TensorRTMissing:
        return True
    return False


def require_gpu() -> None:
    """Raise `TensorRTMissing` if PyTorch sees no CUDA GPU."""
    import torch

    if not torch.cuda.is_available():
        raise TensorRTMissing("no CUDA GPU is to be seen here: plans are built on a GPU of the kind that serves them")


def use_tensorrt_rtx() -> Any:
    """Make polygraphy use TensorRT-RTX, which builds without a GPU; returns the module.

    Must be called before polygraphy is imported. Raises `TensorRTMissing` if it is not installed.
    """
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise TensorRTMissing("TensorRT-RTX is not installed here: `pip install tensorrt-rtx-cu12`") from error
    return tensorrt_rtx
