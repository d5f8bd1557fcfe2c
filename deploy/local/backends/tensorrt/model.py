"""Replaces Triton's C++ backend ``tensorrt`` where only the Python backend and pip's ``tensorrt`` are available.

Triton loads this file as a *Python-based backend*: every model whose file is ``model.plan`` runs through it. It needs
a GPU, ``tensorrt`` of the version that built the plan, and torch, which holds the outputs.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils
from plan import Plan, PlanError, ports
from stand_in import complete_config, version_folder

_FILE_NAME = "model.plan"


class TritonPythonModel:
    """One instance of one engine."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what ``config.pbtxt`` leaves out: tensors, batch size and the dynamic batcher."""
        config = auto_complete_model_config
        given = config.as_dict()
        if given.get("input") and given.get("output"):
            return config
        try:
            inputs, outputs, max_rows = ports(version_folder() / (given.get("default_model_filename") or _FILE_NAME))
        except PlanError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        complete_config(config, inputs, outputs, max_rows)
        return config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the plan onto the GPU of this instance."""
        config = json.loads(args["model_config"])
        if args["model_instance_kind"] != "GPU":
            raise pb_utils.TritonModelException(f"{args['model_name']}: a TensorRT plan runs on a GPU only")
        folder = Path(args["model_repository"]) / args["model_version"]
        try:
            path = folder / (config.get("default_model_filename") or _FILE_NAME)
            self._plan = Plan(path, f"cuda:{args['model_instance_device_id']}")
        except PlanError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self._batched = config["max_batch_size"] > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request; together they form a batch, since Triton only joins requests of equal shapes."""
        feeds = [self._feeds(request) for request in requests]
        wanted = {name for request in requests for name in request.requested_output_names()}
        if not self._batched:
            return [self._answer([one], wanted)[0] for one in feeds]
        return self._answer(feeds, wanted)

    def _feeds(self, request: Any) -> dict[str, Any]:
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self._plan.inputs}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def _answer(self, feeds: list[dict[str, Any]], wanted: set[str]) -> list[Any]:
        try:
            return [_response(outputs, wanted) for outputs in self._plan.run(feeds)]
        except Exception as error:  # an error of the network must only affect its request
            if len(feeds) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
            # One bad request must not fail the others.
            return [self._answer([one], wanted)[0] for one in feeds]


def _response(outputs: Mapping[str, Any], wanted: set[str]) -> Any:
    tensors = [pb_utils.Tensor.from_dlpack(name, output) for name, output in outputs.items() if name in wanted]
    return pb_utils.InferenceResponse(tensors)
