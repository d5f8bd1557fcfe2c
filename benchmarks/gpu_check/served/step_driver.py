"""Runs the orchestrator's denoising loop over ``denoise_step`` and says how long each step took."""

import asyncio
import json
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from denoising import Denoising, Sharing, StepBatcher, TritonMetrics, prepare_scheduler

from insta_depth_shared.bls import Bls
from insta_depth_shared.errors import InstaDepthError

_MODEL, _OUTPUT = "denoise_step", "noise_pred"
_SCALE_FACTOR = 8
# stabilityai/stable-diffusion-xl-base-1.0, scheduler_config.json
_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "timestep_spacing": "leading",
    "steps_offset": 1,
}


class TritonPythonModel:
    """Holds the inputs on its device."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the inputs."""
        parameters = json.loads(args["model_config"])["parameters"]
        is_on_gpu = args["model_instance_kind"] == "GPU"
        index = int(args["model_instance_device_id"]) if is_on_gpu else 0
        self._device = torch.device("cuda", index) if is_on_gpu else torch.device("cpu")
        torch.set_num_threads(1)
        self._bls = Bls(pb_utils)
        self._metrics = TritonMetrics(pb_utils)
        with np.load(parameters["inputs"]["string_value"]) as arrays:
            self._inputs = {name: torch.from_numpy(arrays[name]).to(self._device) for name in arrays}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Counts of steps to warm up and to time → milliseconds of the timed ones, and noise_pred of the inputs."""
        counts = [pb_utils.get_input_tensor_by_name(request, "counts").as_numpy().tolist() for request in requests]
        return [asyncio.run(self._drive(*pair)) for pair in counts]

    async def _drive(self, warm_up: int, repeats: int) -> Any:
        try:
            times = (await self._steps_ms(warm_up + repeats))[warm_up:]
            noise_pred = (await self._noise_pred()).float().cpu().numpy()
        except InstaDepthError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        outputs = [pb_utils.Tensor("step_ms", np.array(times, np.float32)), pb_utils.Tensor(_OUTPUT, noise_pred)]
        return pb_utils.InferenceResponse(outputs)

    async def _steps_ms(self, count: int) -> list[float]:
        """Denoise from noise in ``count`` steps, each from an idle device to an idle device."""
        ends = [self._idle_at()]
        batcher = StepBatcher(self._bls, Sharing(len(self._inputs["sample"])), self._metrics)
        await batcher.run(self._denoising(count), lambda _: ends.append(self._idle_at()), lambda: False)
        return [1e3 * (end - start) for start, end in pairwise(ends)]

    def _denoising(self, step_count: int) -> Denoising:
        """What `Denoising` reads of a request and of a manifest, for these inputs."""
        height, width = self._inputs["sample"].shape[2:]
        dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in self._inputs.items()}
        latents = SimpleNamespace(channels=self._inputs["sample"].shape[1], scale_factor=_SCALE_FACTOR)
        conditioning = {name: self._inputs[name] for name in self._inputs.keys() - {"sample", "timestep"}}
        request: Any = SimpleNamespace(guidance_scale=5.0, guidance_end=1.0, windows={}, seed=0)
        manifest: Any = SimpleNamespace(latents=latents, denoise_step_inputs=dtypes)
        scheduler = prepare_scheduler("checkpoint", step_count, _SCHEDULER)
        return Denoising(request, scheduler, conditioning, (height * _SCALE_FACTOR, width * _SCALE_FACTOR), manifest)

    async def _noise_pred(self) -> torch.Tensor:
        made = await self._bls.call_on(self._device, _MODEL, self._inputs, [_OUTPUT])
        return made[_OUTPUT]

    def _idle_at(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
