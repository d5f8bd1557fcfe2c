"""Each engine on the same inputs, by two runtimes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..engines import Engine
from ..parity import TOLERANCE, Arrays, ParityRow, Run, compare
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
    reference_run, tested_run = (_run_of(case.engine, side) for side in (reference, tested))
    dtype, tolerance = np.dtype(np.float32), TOLERANCE[case.precision]
    yield from compare(case.engine, case.sizes(), dtype, reference_run, tested_run, tolerance)


def _run_of(engine: Engine, side: Side) -> Run:
    """Return what runs the engine on this side; its outputs in the table's order."""
    run = side.open_engine(side.repository / engine.name / "1")
    dtypes = {tensor.name: np.dtype(tensor.dtype or side.io_dtype) for tensor in engine.inputs}
    names = [tensor.name for tensor in engine.outputs]

    def run_typed(inputs: Arrays) -> list[np.ndarray]:
        outputs = run({name: value.astype(dtypes[name]) for name, value in inputs.items()}, names)
        return [outputs[name] for name in names]

    return run_typed
