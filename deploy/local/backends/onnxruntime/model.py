"""Replaces Triton's C++ backend ``onnxruntime`` where only the Python backend is available.

Triton loads this file as a *Python-based backend*: every model whose file is ``model.onnx`` runs through it, so the
repository is the same as in the container. It completes a configuration as the C++ backend does.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils
from on_device import OnDevice, on_host
from stand_in import Port, complete_config, version_folder

_TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
}
_DEFAULT_MAX_BATCH_SIZE = 4  # the C++ backend's
_FILE_NAME = "model.onnx"
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_DLPACK = "exchange_by_dlpack"
"""Our own parameter, for tests: use the GPU code path on a CPU too."""

Feeds = dict[str, Any]
"""One request's inputs by name: arrays in host memory, or Triton's tensors for `OnDevice`."""


class TritonPythonModel:
    """One instance of one engine."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what ``config.pbtxt`` leaves out: tensors, batch size and the dynamic batcher."""
        config = auto_complete_model_config
        given = config.as_dict()
        if given.get("input") and given.get("output"):
            return config
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        path = version_folder() / (given.get("default_model_filename") or _FILE_NAME)
        session = ort.InferenceSession(path, options, providers=[_CPU])
        inputs, outputs = (list(map(_port, tensors)) for tensors in (session.get_inputs(), session.get_outputs()))
        complete_config(config, inputs, outputs, _DEFAULT_MAX_BATCH_SIZE)
        return config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network onto the device of this instance."""
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        parameters = config.get("parameters", {})
        device = int(args["model_instance_device_id"])
        self._session = ort.InferenceSession(
            folder / (config.get("default_model_filename") or _FILE_NAME),
            _session_options(parameters),
            providers=_providers(args["model_instance_kind"], device),
        )
        self._batched = config["max_batch_size"] > 0
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        self._outputs = [tensor.name for tensor in self._session.get_outputs()]
        is_on_gpu = _CUDA in self._session.get_providers()
        self._on_device = (
            OnDevice(self._session, "cuda" if is_on_gpu else "cpu", device if is_on_gpu else 0)
            if is_on_gpu or _DLPACK in parameters
            else None
        )
        pb_utils.Logger.log_info(f"{args['model_name']} runs on {', '.join(self._session.get_providers())}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request; together they form a batch, since Triton only joins requests of equal shapes."""
        feeds = [self._feeds(request) for request in requests]
        wanted = {name for request in requests for name in request.requested_output_names()}
        names = [name for name in self._outputs if name in wanted]
        if not self._batched:
            return [self._answer([one], names)[0] for one in feeds]
        return self._answer(feeds, names)

    def _feeds(self, request: Any) -> Feeds:
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self._inputs}
        there = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        return there if self._on_device else {name: on_host(tensor) for name, tensor in there.items()}

    def _answer(self, feeds: list[Feeds], names: list[str]) -> list[Any]:
        try:
            run = self._on_device.run if self._on_device else self._run
            return [pb_utils.InferenceResponse(_tensors(names, outputs)) for outputs in run(feeds, names)]
        except Exception as error:  # an error of the network must only affect its request
            if len(feeds) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
            # One bad request must not fail the others.
            return [self._answer([one], names)[0] for one in feeds]

    def _run(self, feeds: list[Feeds], names: list[str]) -> list[list[np.ndarray]]:
        """Return the outputs of each request."""
        if len(feeds) == 1:
            return [self._session.run(names, feeds[0])]
        together = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        ends = np.cumsum([len(next(iter(feed.values()))) for feed in feeds])[:-1]
        by_output = [np.split(output, ends) for output in self._session.run(names, together)]
        return [list(outputs) for outputs in zip(*by_output, strict=True)]


def _port(tensor: Any) -> Port:
    shape = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
    return Port(tensor.name, _TRITON_TYPES.get(tensor.type), shape)


def _session_options(parameters: dict[str, dict[str, str]]) -> ort.SessionOptions:
    """Thread counts under the C++ backend's parameter names; all cores by default."""

    def number(name: str, default: int) -> int:
        return int(parameters.get(name, {}).get("string_value") or default)

    options = ort.SessionOptions()
    options.intra_op_num_threads = number("intra_op_thread_count", len(os.sched_getaffinity(0)))
    options.inter_op_num_threads = number("inter_op_thread_count", 1)
    # Two engines of a step run at the same time: a waiting thread must not occupy a core that the other needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(kind: str, device: int) -> list[Any]:
    if kind != "GPU" or _CUDA not in ort.get_available_providers():
        return [_CPU]
    ort.preload_dlls()
    return [(_CUDA, {"device_id": device}), _CPU]


def _tensors(names: list[str], outputs: Sequence[Any]) -> list[Any]:
    """Return host tensors as arrays, which is faster; leave DLPack tensors on their device."""
    return [
        pb_utils.Tensor(name, output) if isinstance(output, np.ndarray) else pb_utils.Tensor.from_dlpack(name, output)
        for name, output in zip(names, outputs, strict=True)
    ]
