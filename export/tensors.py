"""A tensor of an engine: its name, its dimensions, fixed or dynamic, and plausible values for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .facts import CELL_PX

Kind = Literal["normal", "unit", "timestep", "token", "picture", "pixel"]


@dataclass(frozen=True)
class Axis:
    """A dynamic dimension: ``factor`` × the value of ``symbol``."""

    symbol: str
    factor: int = 1


Dim = int | Axis
ROWS = Axis("rows")
TOKENS = Axis("tokens")


@dataclass(frozen=True)
class Tensor:
    """``dtype`` None means the engine's float type; ``kind`` says what sample values look like."""

    name: str
    dims: tuple[Dim, ...]
    dtype: str | None = None
    kind: Kind = "normal"

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape with each symbol replaced by its value in ``sizes``."""
        return tuple(d if isinstance(d, int) else d.factor * sizes[d.symbol] for d in self.dims)


def sample(tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return values of ``tensor``'s kind, float64 or int64."""
    match tensor.kind:
        case "unit":
            return rng.random(shape)
        case "timestep":
            return rng.integers(1, 1000, shape)
        case "token":
            return rng.integers(0, 100, shape)
        case "pixel":
            return rng.integers(0, 256, shape)
        case "picture":
            return rng.integers(CELL_PX, 1281, shape)
        case _:
            return rng.standard_normal(shape)
