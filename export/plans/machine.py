"""The machine that builds a plan."""

from collections.abc import Sequence
from dataclasses import dataclass

from insta_depth_shared.plans import PlanRecord

from ..shapes import ShapeRanges
from .tensorrt_module import require_tensorrt


@dataclass(frozen=True)
class BuildMachine:
    """TensorRT's version, the GPU's name and its compute capability (``9.0``)."""

    tensorrt: str
    gpu: str
    compute_capability: str

    @classmethod
    def here(cls) -> "BuildMachine":
        """Query TensorRT and the driver; raises `TensorRTMissing` if there is none."""
        version = require_tensorrt().__version__
        import torch

        major, minor = torch.cuda.get_device_capability()
        return cls(version, torch.cuda.get_device_name(), f"{major}.{minor}")

    def record(self, engine: str, precision: str, profiles: Sequence[ShapeRanges], source: str) -> PlanRecord:
        """Return the record of a plan built here, without the plan's own hash."""
        return PlanRecord(
            engine=engine,
            tensorrt=self.tensorrt,
            gpu=self.gpu,
            compute_capability=self.compute_capability,
            precision=precision,
            profiles=[{symbol: list(values) for symbol, values in ranges.items()} for ranges in profiles],
            source=source,
            plan="",
        )
