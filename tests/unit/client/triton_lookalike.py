"""A gRPC server in this process that speaks Triton's protocol; the prompt chooses how a request ends."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.stand_in import message

JPEG = b"\xff\xd8\xff a picture"
STEP_S = 0.02


class TritonLookalike(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Prompts: ``[CODE] text`` is answered with that error, ``slow`` never ends, ``silent``
    says nothing, ``cut`` ends without a picture. A request without inputs is a probe: its answer tells ``alive``.
    """

    def __init__(self) -> None:
        self.received: list[dict[str, tuple[str, bytes]]] = []
        self.cancelled = threading.Event()
        self.ready = True
        self.alive = True
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 * 2**20)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """End at once, as a killed server does."""
        self._server.stop(grace=None).wait()

    def ServerMetadata(self, request: object, context: object) -> service_pb2.ServerMetadataResponse:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="triton", version="2.51.0")

    def ModelReady(self, request: object, context: object) -> service_pb2.ModelReadyResponse:  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=self.ready)

    def ModelStreamInfer(  # noqa: N802
        self, requests: Iterator[service_pb2.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[service_pb2.ModelStreamInferResponse]:
        for request in requests:
            inputs = read(request)
            if not inputs:
                yield self._probe_answer()
                return
            self.received.append(inputs)
            yield from self._answer(inputs["prompt"][1].decode(), context)

    def _probe_answer(self) -> service_pb2.ModelStreamInferResponse:
        dead = "Stub process 'insta_depth_stream_0_0' is not healthy."
        alive = "[INVALID_INPUT] prompt: is required"
        return service_pb2.ModelStreamInferResponse(error_message=alive if self.alive else dead)

    def _answer(self, prompt: str, context: grpc.ServicerContext) -> Iterator[service_pb2.ModelStreamInferResponse]:
        if prompt.startswith("["):
            yield service_pb2.ModelStreamInferResponse(error_message=prompt)
            return
        over = threading.Event()
        context.add_callback(lambda: None if over.is_set() else self.cancelled.set())
        step = 0
        while context.is_active() and (step < 3 or prompt in ("slow", "silent")):
            step += 1
            if prompt != "silent":
                yield message(step=np.int32(step), num_inference_steps=np.int32(3))
            time.sleep(STEP_S)
        if not context.is_active():
            return
        over.set()
        if prompt != "cut":
            yield message(image=JPEG, seed=np.int64(10**14), timings=b'{"total": 2.5}', pose_face=np.bool_(False))


def read(request: service_pb2.ModelInferRequest) -> dict[str, tuple[str, bytes]]:
    """Return ``{input: (datatype, bytes)}``, text and pictures without their length prefix."""
    contents = zip(request.inputs, request.raw_input_contents, strict=True)
    return {
        each.name: (each.datatype, content[4:] if each.datatype == "BYTES" else content) for each, content in contents
    }
