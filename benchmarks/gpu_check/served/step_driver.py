"""Calls ``denoise_step`` in a loop, as the orchestrator does, and says how long each call took."""

import asyncio
import json
import time
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from insta_depth_shared.bls import Bls
from insta_depth_shared.errors import InstaDepthError

_MODEL, _OUTPUT = "denoise_step", "noise_pred"


class TritonPythonModel:
    """Holds the inputs on its device."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the inputs."""
        parameters = json.loads(args["model_config"])["parameters"]
        is_on_gpu = args["model_instance_kind"] == "GPU"
        index = int(args["model_instance_device_id"]) if is_on_gpu else 0
        self._device = torch.device("cuda", index) if is_on_gpu else torch.device("cpu")
        self._bls = Bls(pb_utils)
        with np.load(parameters["inputs"]["string_value"]) as arrays:
            self._inputs = {name: torch.from_numpy(arrays[name]).to(self._device) for name in arrays}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Counts of calls to warm up and to time → milliseconds of the timed ones, and the last noise_pred."""
        counts = [pb_utils.get_input_tensor_by_name(request, "counts").as_numpy().tolist() for request in requests]
        return [asyncio.run(self._drive(*pair)) for pair in counts]

    async def _drive(self, warm_up: int, repeats: int) -> Any:
        try:
            times = [await self._timed_ms() for _ in range(warm_up + repeats)][warm_up:]
            noise_pred = (await self._step()).float().cpu().numpy()
        except InstaDepthError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        outputs = [pb_utils.Tensor("step_ms", np.array(times, np.float32)), pb_utils.Tensor(_OUTPUT, noise_pred)]
        return pb_utils.InferenceResponse(outputs)

    async def _timed_ms(self) -> float:
        self._wait()
        started = time.perf_counter()
        await self._step()
        self._wait()
        return 1e3 * (time.perf_counter() - started)

    async def _step(self) -> torch.Tensor:
        made = await self._bls.call_on(self._device, _MODEL, self._inputs, [_OUTPUT])
        return made[_OUTPUT]

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
