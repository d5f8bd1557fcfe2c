"""The one way in which our Python models call other models (Triton's Business Logic Scripting)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import EngineFailed, parse


class Bls:
    """Calls models of the same server.

    Takes ``triton_python_backend_utils`` as an argument, so that only each model's ``model.py`` imports it.
    """

    def __init__(self, pb_utils: Any) -> None:
        self._pb_utils = pb_utils

    async def call(
        self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run ``model`` once and return its ``outputs`` by name, in host memory.

        Raises the `InstaDepthError` that the model's error text carries, else `EngineFailed`.
        """
        pb = self._pb_utils
        request = pb.InferenceRequest(
            model_name=model,
            inputs=[pb.Tensor(name, np.ascontiguousarray(array)) for name, array in inputs.items()],
            requested_output_names=list(outputs),
            preferred_memory=pb.PreferredMemory(pb.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = await request.async_exec()
        self._raise_for_error(model, response)
        return {name: pb.get_output_tensor_by_name(response, name).as_numpy() for name in outputs}

    @staticmethod
    def _raise_for_error(model: str, response: Any) -> None:
        if not response.has_error():
            return
        text = response.error().message()
        raise parse(text) or EngineFailed(f"{model}: {text}")
