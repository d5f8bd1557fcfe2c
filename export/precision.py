"""The float type of an engine: one enum, translated in one place."""

from enum import Enum

import numpy as np
import torch


class Precision(str, Enum):
    """Float type of an engine's weights and of its float inputs and outputs."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The weights' type."""
        return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[self.value]

    @property
    def io_dtype(self) -> np.dtype:
        """The type at the engine's border; numpy has no bf16, so bf16 engines cast inside."""
        return np.dtype(np.float16 if self is Precision.FP16 else np.float32)
