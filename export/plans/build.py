"""Building one TensorRT plan from one ONNX engine, through polygraphy, strongly typed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engines import Engine
from ..errors import ExportError
from ..onnx_signature import check_signature
from ..shapes import ShapeRanges, tensor_shapes
from .tensorrt_module import require_tensorrt

OnProgress = Callable[[str, float], None]
"""Called with the builder's phase and how much of it is done, from 0 to 1."""


class BuildFailed(ExportError):
    """TensorRT refused an engine."""


@dataclass(frozen=True)
class Builder:
    """How plans are built.

    ``compute_capabilities``: for TensorRT-RTX alone, which builds for GPUs that are not here; None: for the one here.
    ``optimization_level``: TensorRT's, 0 to 5; None: TensorRT's default.
    """

    timing_cache: Path | None = None
    optimization_level: int | None = None
    compute_capabilities: tuple[tuple[int, int], ...] | None = None

    def build(
        self, engine: Engine, onnx: Path, profiles: Sequence[ShapeRanges], on_progress: OnProgress | None = None
    ) -> bytes:
        """Return the plan of ``onnx`` for ``profiles``; raises `BuildFailed`."""
        from polygraphy.backend.trt import engine_bytes_from_network, network_from_onnx_path
        from polygraphy.exception import PolygraphyException
        from polygraphy.logger import G_LOGGER

        check_signature(engine, onnx)
        with G_LOGGER.verbosity(G_LOGGER.ERROR):
            try:
                builder, network, parser = network_from_onnx_path(str(onnx), strongly_typed=True)
                config = self._config([_polygraphy_profile(engine, ranges) for ranges in profiles], on_progress)
                cache = str(self.timing_cache) if self.timing_cache else None
                content = engine_bytes_from_network((builder, network, parser), config, save_timing_cache=cache)
            except PolygraphyException as error:
                raise BuildFailed(f"{engine.name}: TensorRT refused it: {error}") from error
        return bytes(content)

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
            return CreateConfig(**options)
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        return CreateConfigRTX(compute_capabilities=list(self.compute_capabilities), **options)


def build_plan(
    engine: Engine,
    onnx: Path,
    plan: Path,
    profiles: Sequence[ShapeRanges],
    builder: Builder | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Build ``onnx`` on the GPU of this machine and write it to ``plan``, whole or not at all.

    Raises `TensorRTMissing` or `BuildFailed`.
    """
    require_tensorrt()
    content = (builder or Builder()).build(engine, onnx, profiles, on_progress)
    unfinished = plan.with_name(f".{plan.name}.unfinished")
    plan.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_bytes(content)
    unfinished.replace(plan)


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
