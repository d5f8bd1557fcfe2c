"""An ONNX engine in this process, run by ONNX Runtime on tensors that stay on the device."""

from collections.abc import Iterable, Mapping
from typing import Any

import onnxruntime as ort
import torch

from .artefacts import onnx_path, prepare_onnx
from .options import NotHere, Options
from .step import Tensors

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def prepare_sessions(options: Options, names: Iterable[str]) -> None:
    """Make sure of the ONNX files; raises `NotHere` before anything slow where ONNX Runtime lacks the device."""
    _providers(options)
    prepare_onnx(options, names)


class OnnxNetwork:
    """A session with its inputs and outputs bound to the device."""

    def __init__(self, name: str, options: Options) -> None:
        device = options.torch_device
        self._binding = (device.type, device.index or 0)
        self._session = ort.InferenceSession(onnx_path(options, name), _quiet(), providers=_providers(options))
        self._outputs = [tensor.name for tensor in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Tensors:
        """Inputs by name → outputs by name; complete when it returns, see ``deploy/local/backends/onnxruntime``."""
        binding = self._session.io_binding()
        for name, tensor in inputs.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.from_dlpack(tensor.contiguous()))
        for name in self._outputs:
            binding.bind_output(name, *self._binding)
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        return dict(zip(self._outputs, map(torch.from_dlpack, binding.get_outputs()), strict=True))


def _providers(options: Options) -> list[Any]:
    if not options.is_on_gpu:
        return [_CPU]
    if _CUDA not in ort.get_available_providers():
        raise NotHere(f"onnxruntime-gpu: onnxruntime {ort.__version__} has {', '.join(ort.get_available_providers())}")
    ort.preload_dlls()
    return [(_CUDA, {"device_id": options.torch_device.index}), _CPU]


def _quiet() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return options
