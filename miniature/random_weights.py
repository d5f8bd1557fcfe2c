"""Seeded random weights with which untrained networks respond visibly to every input."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with its own random state, and restore the caller's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def spread(module: nn.Module, gain: float) -> None:
    """Redraw a linear or convolution layer so that unit input gives output of deviation ``gain``."""
    weight = module.get_parameter("weight")
    nn.init.normal_(weight, std=gain / weight[0].numel() ** 0.5)
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.get_parameter("bias"))


def spread_named(network: nn.Module, gains: dict[str, float]) -> None:
    """`spread` every layer whose dotted name ends with one of ``gains``' keys."""
    for name, module in network.named_modules():
        for ending, gain in gains.items():
            if name.endswith(ending) and hasattr(module, "weight"):
                spread(module, gain)
