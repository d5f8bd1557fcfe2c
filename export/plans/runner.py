"""Running a plan on the GPU of this machine, through polygraphy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ExportError
from .tensorrt_module import require_tensorrt


class PlanRunner:
    """A TensorRT engine as a function of tensors by name.

    Raises `ExportError` if the plan does not fit this machine's TensorRT or GPU.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        require_tensorrt()
        from polygraphy.backend.trt import TrtRunner, engine_from_path

        self._device = device
        with torch.cuda.device(device):
            engine = engine_from_path(str(path))
            if engine is None:
                raise ExportError(f"{path}: TensorRT cannot read it; was it built by another version or GPU?")
            self._engine = engine
            self._runner = TrtRunner(engine)
            self._runner.activate()
        self._profile = 0

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return every output by name, on the device; inputs that are there already are not copied."""
        on_device = {name: value.to(self._device).contiguous() for name, value in inputs.items()}
        self._choose_profile({name: tuple(value.shape) for name, value in on_device.items()})
        # polygraphy runs on its own stream: torch's queued work must be done before.
        torch.cuda.current_stream(self._device).synchronize()
        outputs = self._runner.infer(on_device, copy_outputs_to_host=False)
        return {name: value.clone() for name, value in outputs.items()}  # the runner reuses its own

    def _choose_profile(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Use the first profile that admits ``shapes``: those of a fixed size come first."""
        for index in range(self._engine.num_optimization_profiles):
            if all(_is_within(shape, self._engine.get_tensor_profile_shape(n, index)) for n, shape in shapes.items()):
                if index != self._profile:
                    self._runner.set_profile(index)
                    self._profile = index
                return
        raise ExportError(f"no profile of the plan admits {dict(shapes)}")

    def close(self) -> None:
        """Free the GPU's memory."""
        self._runner.deactivate()


def _is_within(shape: tuple[int, ...], bounds: Any) -> bool:
    smallest, _, largest = bounds
    return all(low <= side <= high for low, side, high in zip(smallest, shape, largest, strict=True))
