"""Building one TensorRT plan from one ONNX engine, through polygraphy, strongly typed."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engines import Engine
from ..errors import ExportError
from ..onnx_signature import check_signature
from ..shapes import ShapeRanges, tensor_shapes
from .memory import PlanMemory
from .tensorrt_module import require_tensorrt

OnProgress = Callable[[str, float], None]
"""Called with the builder's phase and how much of it is done, from 0 to 1."""


_TOTAL = re.compile(r"Total (Weights|Activation) Memory: (\d+) bytes")
"""What the builder says of each plan; it can be asked of the plan itself only where there is a GPU."""


class BuildFailed(ExportError):
    """TensorRT rejected an engine."""


@dataclass(frozen=True)
class Plan:
    """A serialized plan and the memory that it takes on the GPU."""

    content: bytes
    memory: PlanMemory


@dataclass(frozen=True)
class Builder:
    """How plans are built.

    ``compute_capabilities``: only for TensorRT-RTX, which builds for GPUs that are not here; None: for this machine's.
    ``optimization_level``: TensorRT's, 0 to 5; None: TensorRT's default.
    """

    timing_cache: Path | None = None
    optimization_level: int | None = None
    compute_capabilities: tuple[tuple[int, int], ...] | None = None

    def build(
        self,
        engine: Engine,
        onnx: Path,
        io_dtype: np.dtype,
        profiles: Sequence[ShapeRanges],
        on_progress: OnProgress | None = None,
    ) -> Plan:
        """Return the plan of ``onnx`` for ``profiles``; raises `SignatureError` or `BuildFailed`.

        ``io_dtype``: the float type of the tensors between the engines of its repository.
        """
        check_signature(engine, onnx, io_dtype)
        from polygraphy.backend.trt import engine_bytes_from_network
        from polygraphy.exception import PolygraphyException
        from polygraphy.logger import G_LOGGER

        logger = _logger()
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            try:
                network = _parse(onnx, logger)
                config = self._config([_polygraphy_profile(engine, ranges) for ranges in profiles], on_progress)
                cache = str(self.timing_cache) if self.timing_cache else None
                content = engine_bytes_from_network(network, config, save_timing_cache=cache)
            except PolygraphyException as error:
                reason = logger.errors[0] if logger.errors else error
                raise BuildFailed(f"{engine.name}: TensorRT refused it: {reason}") from error
        return Plan(bytes(content), PlanMemory(logger.totals["Weights"], logger.totals["Activation"]))

    def _config(self, profiles: list[Any], on_progress: OnProgress | None) -> Any:
        from polygraphy.backend.trt import CreateConfig

        options: dict[str, Any] = {
            "profiles": profiles,
            "builder_optimization_level": self.optimization_level,
            "progress_monitor": _monitor(on_progress) if on_progress else None,
        }
        if self.timing_cache and self.timing_cache.exists():
            options["load_timing_cache"] = str(self.timing_cache)
        if self.compute_capabilities is None:
            # fp32 engines on the tensor cores: polygraphy clears TensorRT's own default, and leaves TensorRT-RTX's.
            return CreateConfig(tf32=True, **options)
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        return CreateConfigRTX(compute_capabilities=list(self.compute_capabilities), **options)


def build_plan(
    engine: Engine,
    onnx: Path,
    plan: Path,
    io_dtype: np.dtype,
    profiles: Sequence[ShapeRanges],
    builder: Builder | None = None,
    on_progress: OnProgress | None = None,
) -> PlanMemory:
    """Build ``onnx`` on the GPU of this machine, write it to ``plan`` atomically, and return the memory that it takes.

    ``io_dtype``: as in `Builder.build`. Raises `TensorRTMissing`, `SignatureError` or `BuildFailed`.
    """
    require_tensorrt()
    built = (builder or Builder()).build(engine, onnx, io_dtype, profiles, on_progress)
    unfinished = plan.with_name(f".{plan.name}.unfinished")
    plan.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_bytes(built.content)
    unfinished.replace(plan)
    return built.memory


def _logger() -> Any:
    """TensorRT's logger, which has to inherit from its interface: keeps errors, and the memory that is told."""
    from polygraphy.backend.trt import util  # polygraphy knows which TensorRT is in use

    class Logger(util.trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []
            self.totals = {"Weights": 0, "Activation": 0}

        def log(self, severity: Any, message: str) -> None:
            if severity in (util.trt.ILogger.INTERNAL_ERROR, util.trt.ILogger.ERROR):
                self.errors.append(message)
            elif told := _TOTAL.match(message):
                self.totals[told[1]] = max(self.totals[told[1]], int(told[2]))

    return Logger()


def _parse(onnx: Path, logger: Any) -> tuple[Any, Any, Any]:
    """Return a builder that uses ``logger``, the strongly typed network of ``onnx`` and its parser."""
    from polygraphy.backend.trt import util
    from polygraphy.exception import PolygraphyException

    trt = util.trt
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        raise PolygraphyException(str(parser.get_error(0)))
    return builder, network, parser


def _polygraphy_profile(engine: Engine, ranges: ShapeRanges) -> Any:
    from polygraphy.backend.trt import Profile

    profile = Profile()
    for tensor in engine.inputs:
        smallest, usual, largest = tensor_shapes(tensor, ranges)
        profile.add(tensor.name, smallest, usual, largest)
    return profile


def _monitor(on_progress: OnProgress) -> Any:
    """TensorRT's progress monitor, which has to inherit from its interface."""
    from polygraphy.backend.trt import util  # polygraphy knows which TensorRT is in use

    class Monitor(util.trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                on_progress(phase_name, 0.0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                on_progress(phase_name, (step + 1) / max(self._steps[phase_name], 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
