"""The float type of an engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import torch


class Precision(str, Enum):
    """Float type of an engine's weights and arithmetic."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The weights' type."""
        types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        return types[self.value]

    @property
    def io_dtype(self) -> np.dtype:
        """The type of the tensors between the engines of a repository mostly in this precision.

        For bf16 it is float32, since numpy has no bf16.
        """
        return np.dtype(np.float16 if self.torch_dtype is torch.float16 else np.float32)


@dataclass(frozen=True)
class Precisions:
    """The precision of most engines, and the exceptions by name.

    All engines have inputs and outputs of ``most.io_dtype``.
    """

    most: Precision = Precision.FP32
    others: Mapping[str, Precision] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Precisions":
        """Read ``fp16`` or ``fp16,vae_decoder=bf16``; raises ValueError."""
        parts = [part.partition("=") for part in text.split(",")]
        known = [precision.value for precision in Precision]
        for name, equals, value in parts:
            if (value if equals else name) not in known:
                raise ValueError(f"{text}: {value if equals else name} is none of {', '.join(known)}")
        most = [Precision(name) for name, equals, _ in parts if not equals]
        if len(most) != 1:
            raise ValueError(f"{text}: one precision for most engines is needed, as in fp16,vae_decoder=bf16")
        return cls(most[0], {name: Precision(value) for name, equals, value in parts if equals})

    def of(self, engine: str) -> Precision:
        """Return the precision of ``engine``."""
        return self.others.get(engine, self.most)
