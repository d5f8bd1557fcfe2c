"""Each engine on the same inputs, by two runtimes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..engines import Engine, sample_inputs
from ..in_process import Arrays, RunEngine
from ..parity import TOLERANCE, ParityRow, relative_error
from ..precision import Precision
from ..shapes import ShapeRanges, admits
from .sides import Side


@dataclass(frozen=True)
class EngineCase:
    """One engine, its precision on the side under test, and the shapes that this side admits; none: all."""

    engine: Engine
    precision: Precision
    profiles: tuple[ShapeRanges, ...] = ()

    def sizes(self) -> list[Mapping[str, int]]:
        """Return the table's sizes that some profile admits, else each profile's most usual ones."""
        if not self.profiles:
            return list(self.engine.sizes)
        admitted = [sizes for sizes in self.engine.sizes if any(self._is_within(sizes, p) for p in self.profiles)]
        return admitted or [{symbol: usual for symbol, (_, usual, _) in p.items()} for p in self.profiles]

    def _is_within(self, sizes: Mapping[str, int], profile: ShapeRanges) -> bool:
        return all(admits(tensor, profile, tensor.shape(sizes)) for tensor in self.engine.inputs)


def compare_engine(case: EngineCase, reference: Side, tested: Side) -> Iterator[ParityRow]:
    """Yield a row for each of the case's sizes: the largest difference of any output."""
    name = case.engine.name
    engines = [side.open_engine(side.repository / name / "1") for side in (reference, tested)]
    for sizes in case.sizes():
        inputs = sample_inputs(case.engine, sizes, np.dtype(np.float32))
        expected, actual = (
            _run(run, inputs, case.engine, side) for run, side in zip(engines, (reference, tested), strict=True)
        )
        error = max(relative_error(actual[tensor], expected[tensor]) for tensor in expected)
        shapes = "×".join(str(n) for n in next(iter(inputs.values())).shape)
        yield ParityRow(name, shapes, error, TOLERANCE[case.precision])


def _run(run: RunEngine, inputs: Arrays, engine: Engine, side: Side) -> Arrays:
    dtypes = {tensor.name: np.dtype(tensor.dtype or side.io_dtype) for tensor in engine.inputs}
    typed = {name: value.astype(dtypes[name]) for name, value in inputs.items()}
    return run(typed, [tensor.name for tensor in engine.outputs])
