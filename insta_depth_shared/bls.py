"""How our Python models call other models (Triton's Business Logic Scripting)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import EngineFailed, parse

Array = Any
"""A ``numpy.ndarray``, or a ``torch.Tensor`` on any device; not every model that shares this module has torch."""
Arrays = dict[str, np.ndarray]
Call = Callable[[str, Mapping[str, np.ndarray], Sequence[str]], Arrays]
"""(model name, inputs by name, names of the wanted outputs) → those outputs by name."""

CANCELLATION_KEY = "cancellation_key"
"""Parameter of a request to ``insta_depth_stream``: a secret by which its sender can cancel it."""
CANCEL = "cancel"
"""Parameter of a request that only cancels the request with this key."""


class Bls:
    """Calls models of the same server.

    Takes ``triton_python_backend_utils`` as an argument, so that only each model's ``model.py`` imports it.
    """

    def __init__(self, pb_utils: Any) -> None:
        self._pb_utils = pb_utils

    async def call(self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Arrays:
        """Run ``model`` once and return its ``outputs`` by name, in host memory.

        Raises the `InstaDepthError` that the model's error text carries, else `EngineFailed`.
        """
        response = await self._request(model, inputs, outputs).async_exec()
        return self._arrays(model, response, outputs)

    async def call_on(
        self, device: Any, model: str, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Any]:
        """Like `call`, but return ``torch.Tensor``s on ``device``, a ``torch.device``.

        On a GPU they are copied out of Triton's memory pool, on the device and in the current stream's order.
        """
        response = await self._request(model, inputs, outputs, device=device).async_exec()
        self._raise_for_error(model, response)
        return device_tensors({name: self._output(model, response, name) for name in outputs}, device)

    def call_now(self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        """Like `call`, but blocking, for a model that has nothing else to do."""
        response = self._request(model, inputs, outputs).exec()
        return self._arrays(model, response, outputs)

    async def stream(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        parameters: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Arrays]:
        """Run the decoupled ``model`` and yield those of ``outputs`` that each response holds, if any.

        Waiting for a response occupies a thread of the event loop's default executor, because Triton's iterator blocks.
        """
        responses = iter(await self._request(model, inputs, outputs, parameters).async_exec(decoupled=True))
        while (response := await asyncio.to_thread(next, responses, None)) is not None:
            self._raise_for_error(model, response)
            if tensors := response.output_tensors():
                yield {tensor.name(): tensor.as_numpy() for tensor in tensors}

    def _request(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        parameters: Mapping[str, str] | None = None,
        device: Any = None,
    ) -> Any:
        pb = self._pb_utils
        is_on_gpu = device is not None and device.type == "cuda"
        place = (pb.TRITONSERVER_MEMORY_GPU, device.index) if is_on_gpu else (pb.TRITONSERVER_MEMORY_CPU, 0)
        return pb.InferenceRequest(
            model_name=model,
            inputs=[self._tensor(name, array) for name, array in inputs.items()],
            requested_output_names=list(outputs),
            preferred_memory=pb.PreferredMemory(*place),
            parameters=dict(parameters or {}),
        )

    def _tensor(self, name: str, array: Array) -> Any:
        """Wrap ``array`` without a copy.

        On a GPU pass Triton the object itself, not a capsule: it then waits for the tensor's queued work.
        """
        if isinstance(array, np.ndarray):
            return self._pb_utils.Tensor(name, np.ascontiguousarray(array))
        if array.device.type == "cpu":  # faster this way than by DLPack
            return self._pb_utils.Tensor(name, array.contiguous().numpy())
        return self._pb_utils.Tensor.from_dlpack(name, array.contiguous())

    def _arrays(self, model: str, response: Any, outputs: Sequence[str]) -> Arrays:
        self._raise_for_error(model, response)
        return {name: self._output(model, response, name).as_numpy() for name in outputs}

    def _output(self, model: str, response: Any, name: str) -> Any:
        tensor = self._pb_utils.get_output_tensor_by_name(response, name)
        if tensor is None:
            raise EngineFailed(f"{model}: answered without {name}")
        return tensor

    @staticmethod
    def _raise_for_error(model: str, response: Any) -> None:
        if not response.has_error():
            return
        text = response.error().message()
        raise parse(text) or EngineFailed(f"{model}: {text}")


def device_tensors(tensors: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """Return Triton's ``tensors`` as torch's on ``device``; those in host memory are moved there.

    GPU memory belongs to Triton, which reuses it once the response is freed. So tensors on the GPU are copied, and
    the copy is complete on return.
    """
    import torch

    copies = {
        name: torch.from_numpy(tensor.as_numpy()).to(device)
        if tensor.is_cpu()
        else torch.from_dlpack(tensor).to(device, copy=True)
        for name, tensor in tensors.items()
    }
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return copies
