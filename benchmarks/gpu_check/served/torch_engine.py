"""One network of the step as a model of its own, in PyTorch, or empty, with answers that lie ready."""

import json
import locale
import sys
from typing import Any

import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One network; makes its weights itself."""

    def initialize(self, args: dict[str, str]) -> None:
        """Build the network for the options in the model's parameters."""
        parameters = json.loads(args["model_config"])["parameters"]
        root = parameters["root"]["string_value"]
        sys.path.insert(0, root)
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")  # a stub starts in C, in which torch cannot read its own sources
        from benchmarks.gpu_check.options import parse
        from benchmarks.gpu_check.torch_networks import NETWORKS

        options = parse(parameters["arguments"]["string_value"].split("\n"))
        self._device = options.torch_device
        self._network = NETWORKS[parameters["kind"]["string_value"]](args["model_name"], options)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself: the driver sends one at a time."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        inputs = {tensor.name(): torch.from_dlpack(tensor).to(self._device) for tensor in request.inputs()}
        try:
            made = self._network(inputs)
        except Exception as error:  # whatever a network throws belongs to its request, never to this process
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        wanted = request.requested_output_names()
        outputs = [pb_utils.Tensor.from_dlpack(name, made[name].contiguous()) for name in wanted]
        return pb_utils.InferenceResponse(outputs)
