"""The Triton adapter of `denoising`: tensors in, progress and a picture out."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from denoising import DepthProcessor, Pipeline, PipelineOutput, Progress, SelfTest, Settings, TritonMetrics

from insta_depth_shared.answers import answer
from insta_depth_shared.background import Background
from insta_depth_shared.bls import CANCEL, CANCELLATION_KEY, Arrays, Bls
from insta_depth_shared.manifest import Manifest
from insta_depth_shared.plans import Machine, check_plans

_log = logging.getLogger(__name__)
THREADS_PER_REQUEST = 6
"""Maximum concurrent calls of other models and picture jobs of one request, each in a thread."""
GOODBYE_S = 1.0


class TritonPythonModel:
    """The model ``insta_depth_stream``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings, the manifest and the depth estimator's processor."""
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        torch.set_num_threads(1)  # the latents are small; the processors belong to the engines
        folder = Path(__file__).parent
        manifest, device = Manifest.load(folder), _device(args)
        if device.type == "cuda":
            check_plans(folder, Machine.here(device))
        settings = Settings.from_environment(engine_rows=manifest.max_rows)
        networks = Bls(pb_utils)
        self._self_test = SelfTest(networks, manifest, device, give_up=_end)
        self._pipeline = Pipeline(
            networks,
            manifest,
            settings,
            DepthProcessor(folder / "depth_processor"),
            TritonMetrics(pb_utils),
            device,
        )
        self._clients: dict[str, Client] = {}
        self._background = Background("insta_depth_stream", THREADS_PER_REQUEST * settings.max_requests)

    def execute(self, requests: list[Any]) -> None:
        """Start each request; its responses are sent later through its response sender."""
        for request in requests:
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            sender = request.get_response_sender()
            self._background.start(answer(pb_utils, sender, self._respond(request, sender, tensors)))

    def finalize(self) -> None:
        """Cancel the requests in progress."""
        self._background.stop(GOODBYE_S)

    async def _respond(self, request: Any, sender: Any, tensors: Arrays) -> Any | None:
        parameters = json.loads(request.parameters() or "{}")
        if CANCEL in parameters:
            self._cancel(parameters[CANCEL])
            return None
        key = parameters.get(CANCELLATION_KEY)
        with self._cancellable(Client(request, sender), key) as client, self._self_test.watching():
            return _picture_response(await self._pipeline.generate(tensors, client))

    @contextmanager
    def _cancellable(self, client: "Client", key: str | None) -> Iterator["Client"]:
        """Allow another model to cancel ``client``'s request by ``key``: Triton 2.51 has no such call."""
        if key is None:
            yield client
            return
        self._clients[key] = client
        try:
            yield client
        finally:
            del self._clients[key]

    def _cancel(self, key: str) -> None:
        if key in self._clients:
            self._clients[key].leave()


def _end(reason: str) -> None:
    """End this process: the guard, or `alive.py` in a container, then has the server started anew."""
    _log.critical("the engines do not answer any more, and this process ends: %s", reason)
    os._exit(1)


def _device(args: dict[str, str]) -> torch.device:
    """The device of this instance: its GPU, or the host if there is none."""
    if args["model_instance_kind"] != "GPU":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        _log.warning(
            "Triton has a GPU, this PyTorch (%s) does not: tensors travel by way of the host", torch.__version__
        )
        return torch.device("cpu")
    # There would be an orchestrator on each GPU, and their requests would not share steps.
    if torch.cuda.device_count() > 1:
        raise RuntimeError(
            f"{torch.cuda.device_count()} GPUs are to be seen, and a server works on one: "
            "start a server for each, with CUDA_VISIBLE_DEVICES=0, 1, …"
        )
    return torch.device("cuda", int(args["model_instance_device_id"]))


class Client:
    """The `ProgressListener` of one request: the client at the other end of its stream."""

    def __init__(self, request: Any, sender: Any) -> None:
        self._request = request
        self._sender = sender
        self._has_left = False

    def leave(self) -> None:
        """Cancel the request."""
        self._has_left = True

    def is_cancelled(self) -> bool:
        """Whether the client cancelled, disconnected or let its deadline pass."""
        return self._has_left or self._request.is_cancelled()

    def on_progress(self, progress: Progress) -> None:
        """Send one progress response."""
        self._sender.send(_progress_response(progress))


def _progress_response(progress: Progress) -> Any:
    tensors = [
        pb_utils.Tensor("step", np.array([progress.step], np.int32)),
        pb_utils.Tensor("num_inference_steps", np.array([progress.step_count], np.int32)),
    ]
    if progress.ahead:
        tensors.append(pb_utils.Tensor("ahead", np.array([progress.ahead], np.int32)))
    if progress.preview is not None:
        tensors.append(_bytes_tensor("preview", progress.preview))
    return pb_utils.InferenceResponse(tensors)


def _picture_response(generated: PipelineOutput) -> Any:
    tensors = [
        _bytes_tensor("image", generated.image),
        pb_utils.Tensor("seed", np.array([generated.seed], np.int64)),
        _bytes_tensor("timings", json.dumps(generated.timings_ms).encode()),
        pb_utils.Tensor("pose_face", np.array([generated.has_pose_face])),
        pb_utils.Tensor("refined", np.array([generated.is_refined])),
    ]
    if generated.warnings:
        tensors.append(_bytes_tensor("warnings", *(text.encode() for text in generated.warnings)))
    return pb_utils.InferenceResponse(tensors)


def _bytes_tensor(name: str, *contents: bytes) -> Any:
    return pb_utils.Tensor(name, np.array(contents, np.object_))
