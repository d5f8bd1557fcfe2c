"""A look-alike of `insta_depth_stream` without networks: each step sleeps, and the prompt chooses the ending."""

from pathlib import Path

from export.triton_configs import request_config

STEP_S = 0.1
ROOT = Path(__file__).parents[2]

_MODEL = """
import asyncio
import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
LOG = Path(__file__).with_name("log.txt")


class TritonPythonModel:
    async def execute(self, requests):
        await asyncio.gather(*(self.answer(request) for request in requests))

    async def answer(self, request):
        given = {tensor.name(): tensor.as_numpy()[0] for tensor in request.inputs()}
        sender = request.get_response_sender()
        try:
            sender.send(await self.picture(given, request, sender), flags=FINAL)
        except ValueError as error:
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))), flags=FINAL)

    async def picture(self, given, request, sender):
        prompt = given.get("prompt", b"[INVALID_INPUT] prompt: is required").decode()
        if prompt.startswith("["):
            raise ValueError(prompt)
        steps = given["num_inference_steps"]
        for step in range(1, steps + 1):
            await asyncio.sleep(STEP_S)
            if prompt == "die":
                os._exit(1)
            if request.is_cancelled():
                with LOG.open("a") as log:
                    log.write(f"{prompt} {step}\\n")
                raise ValueError("[CANCELLED] cancelled")
            sender.send(response(step=np.int32(step), num_inference_steps=steps))
        return response(image=b"picture", seed=given["seed"], timings=b"{}", pose_face=np.bool_(True))


def response(**outputs):
    tensors = [
        pb_utils.Tensor(name, np.array([value], dtype=object if isinstance(value, bytes) else value.dtype))
        for name, value in outputs.items()
    ]
    return pb_utils.InferenceResponse(tensors)
"""


def make(folder: Path) -> Path:
    """Write the repository into ``folder``: the real model's configuration over another model."""
    version = folder / "insta_depth_stream" / "1"
    version.mkdir(parents=True)
    config = request_config(ROOT / "model_repository" / "insta_depth_stream" / "config.pbtxt", {})
    (version.parent / "config.pbtxt").write_text(config)
    (version / "model.py").write_text(f"STEP_S = {STEP_S}\n{_MODEL}")
    return folder


def cancelled_at(folder: Path) -> dict[str, int]:
    """Return the step at which each cancelled request was noticed, by its prompt."""
    log = folder / "insta_depth_stream" / "1" / "log.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    return {prompt: int(step) for prompt, step in (line.split() for line in lines)}
