"""Running a session on tensors that are already on its device, without a copy through host memory.

Synchronisation on a GPU, where every library has its own stream: Triton passes inputs without pending work. ONNX
Runtime ends a run with ``cudaStreamSynchronize`` by default (``OnRunEnd`` of its CUDA provider), so outputs are
complete when `run` returns. Only our own joining of several requests remains, for which ``synchronize_inputs`` waits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort


class OnDevice:
    """A session whose inputs and outputs are exchanged by DLPack; ``device_type`` is ``cuda`` or ``cpu``."""

    def __init__(self, session: ort.InferenceSession, device_type: str, device_id: int) -> None:
        self._session = session
        self._device = (device_type, device_id)

    def run(self, feeds: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
        """Return the outputs ``names`` of each request, on the device; its inputs are Triton's tensors by name."""
        if len(feeds) == 1:
            return [self._run_once(feeds[0], names)]
        try:
            import torch
        except ImportError:  # nothing else here can join tensors on a device
            return [self._run_once(feed, names) for feed in feeds]
        device = torch.device(*self._device)
        parts = [{name: torch.from_dlpack(tensor).to(device) for name, tensor in feed.items()} for feed in feeds]
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        rows = [len(next(iter(part.values()))) for part in parts]
        by_output = [torch.from_dlpack(output).split(rows) for output in self._run_once(joined, names)]
        return [list(outputs) for outputs in zip(*by_output, strict=True)]

    def _run_once(self, inputs: Mapping[str, Any], names: Sequence[str]) -> list[ort.OrtValue]:
        binding = self._session.io_binding()
        for name, tensor in inputs.items():
            # Inputs still in host memory are copied by the session.
            binding.bind_ortvalue_input(name, ort.OrtValue.from_dlpack(tensor))
        for name in names:
            binding.bind_output(name, *self._device)
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        return binding.get_outputs()


def on_host(tensor: Any) -> np.ndarray:
    """Return Triton's ``tensor`` as an array; one on a GPU is copied, for a session that has none."""
    if tensor.is_cpu():
        return tensor.as_numpy()  # type: ignore[no-any-return]
    import torch

    return torch.from_dlpack(tensor).cpu().numpy()  # type: ignore[no-any-return]
