"""What a chip can do at most: its data sheet's figure, and what one large matrix product reaches here and now."""

from dataclasses import dataclass
from statistics import median

import torch

from .measuring import times_ms

_SIDE = {"cuda": 8192, "cpu": 512}


@dataclass(frozen=True)
class Chip:
    """Dense fp16 tensor-core peak with fp32 accumulation; ``name`` holds what the driver's name has to contain."""

    name: tuple[str, ...]
    tflops: float
    source: str


# The first that fits counts. NVIDIA's sheets print the figures of H100, H200 and L4 with sparsity, which doubles them.
CHIPS = (
    Chip(("H200",), 989.0, "NVIDIA H200 data sheet: 1,979 with sparsity"),
    Chip(("H100", "PCIe"), 756.0, "NVIDIA H100 data sheet, PCIe: 1,513 with sparsity"),
    Chip(("H100", "NVL"), 835.0, "NVIDIA H100 NVL data sheet: 1,671 with sparsity"),
    Chip(("H100",), 989.0, "NVIDIA H100 data sheet, SXM: 1,979 with sparsity"),
    Chip(("A100",), 312.0, "NVIDIA A100 data sheet"),
    Chip(("L40S",), 362.0, "NVIDIA L40S data sheet: 362.05"),
    Chip(("L4",), 121.0, "NVIDIA L4 data sheet: 242 with sparsity"),
    Chip(("RTX 4090",), 165.2, "NVIDIA Ada GPU architecture whitepaper, table 2: fp16 with fp32 accumulate"),
    Chip(("A10",), 125.0, "NVIDIA A10 data sheet"),
    Chip(("T4",), 65.0, "NVIDIA T4 data sheet"),
)
_LESS = {"D", "Laptop", "MIG"}
"""Words after a chip's name that stand for a smaller one, or for a part of it."""


def known_chip(name: str) -> Chip | None:
    """The entry for a GPU of this name, such as ``NVIDIA H100 80GB HBM3``."""
    words = set(name.replace("-", " ").split())
    if words & _LESS:
        return None
    fits = (chip for chip in CHIPS if all(set(part.split()) <= words for part in chip.name))
    return next(fits, None)


def measured_tflops(device: torch.device, dtype: torch.dtype, repeats: int = 10) -> float:
    """TFLOP/s of a square matrix product of random values: what is left of the peak at today's clocks and power."""
    side = _SIDE[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times_ms(lambda: a @ b, device, 3)
    return 2 * side**3 / 1e9 / median(times_ms(lambda: a @ b, device, repeats))
