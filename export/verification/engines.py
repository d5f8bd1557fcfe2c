"""Each engine on the same inputs, with two runtimes."""

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
    """One engine, its precision on the tested side, and the profiles of that side; none: all shapes."""

    engine: Engine
    precision: Precision
    profiles: tuple[ShapeRanges, ...] = ()

    def sizes(self) -> list[Mapping[str, int]]:
        """Return the table's sizes that a profile admits, and each profile's optimum and maximum.

        The largest batch is compared at the smallest picture, the largest picture with the smallest batch: both at
        once take ONNX Runtime hours on a CPU.
        """
        if not self.profiles:
            return list(self.engine.sizes)
        admitted = [sizes for sizes in self.engine.sizes if any(self._is_within(sizes, p) for p in self.profiles)]
        compared = [*admitted, *(sizes for profile in self.profiles for sizes in _extremes(profile))]
        return [sizes for index, sizes in enumerate(compared) if sizes not in compared[:index]]

    def _is_within(self, sizes: Mapping[str, int], profile: ShapeRanges) -> bool:
        return all(admits(tensor, profile, tensor.shape(sizes)) for tensor in self.engine.inputs)


def _extremes(profile: ShapeRanges) -> Iterator[Mapping[str, int]]:
    """Yield the most usual sizes, the largest picture, and the largest batch."""
    smallest, usual, largest = ({symbol: values[i] for symbol, values in profile.items()} for i in range(3))
    yield usual
    if "rows" in profile:
        yield largest | {"rows": smallest["rows"]}
        yield smallest | {"rows": largest["rows"]}
    else:
        yield largest


def compare_engine(case: EngineCase, reference: Side, tested: Side) -> Iterator[ParityRow]:
    """Yield a row for each of the case's sizes: the largest difference of any output."""
    reference_run, tested_run = (_run_of(case.engine, side) for side in (reference, tested))
    dtype, tolerance = np.dtype(np.float32), TOLERANCE[case.precision]
    yield from compare(case.engine, case.sizes(), dtype, reference_run, tested_run, tolerance)


def _run_of(engine: Engine, side: Side) -> Run:
    """Return a function that runs the engine on this side; its outputs are in the table's order."""
    folder = side.repository / engine.name / "1"
    if side.check_engine:
        side.check_engine(engine, folder / "model.onnx", side.io_dtype)
    run = side.open_engine(folder)
    dtypes = {tensor.name: np.dtype(tensor.dtype or side.io_dtype) for tensor in engine.inputs}
    names = [tensor.name for tensor in engine.outputs]

    def run_typed(inputs: Arrays) -> list[np.ndarray]:
        outputs = run({name: value.astype(dtypes[name]) for name, value in inputs.items()}, names)
        return [outputs[name] for name in names]

    return run_typed
