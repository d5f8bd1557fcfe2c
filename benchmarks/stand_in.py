"""``python -m benchmarks.stand_in``: a server of Triton's protocol in a process of its own that answers at once.

What takes time in front of it is not lost in the noise of denoising. The first line that it prints is its port.
"""

import io
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import grpc
import numpy as np
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

# As large as a photo that has been scaled to what the models see, and as the picture that they make.
PICTURE_BYTES = 400_000
STEPS = 4
_SIDE_PX = 666
_MESSAGE_BYTES_MAX = 64 * 2**20


@cache
def picture(seed: int) -> bytes:
    """A JPEG of noise, of about `PICTURE_BYTES`."""
    noise, file = np.random.default_rng(seed).integers(0, 256, (_SIDE_PX, _SIDE_PX, 3), np.uint8), io.BytesIO()
    Image.fromarray(noise).save(file, "jpeg", quality=90)
    return file.getvalue()


class StandIn(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Tells of `STEPS` steps and sends always the same picture."""

    def __init__(self) -> None:
        progress = (message(step=np.int32(step + 1), num_inference_steps=np.int32(STEPS)) for step in range(STEPS))
        timings = b'{"total": 0.0}'
        last = message(image=picture(0), seed=np.int64(1), timings=timings, pose_face=np.bool_(True))
        self._answer = [*progress, last]

    def ServerReady(self, request: object, context: object) -> service_pb2.ServerReadyResponse:  # noqa: N802
        """Answer that the server is ready."""
        return service_pb2.ServerReadyResponse(ready=True)

    def ServerMetadata(self, request: object, context: object) -> service_pb2.ServerMetadataResponse:  # noqa: N802
        """Claim to be Triton."""
        return service_pb2.ServerMetadataResponse(name="triton", version="0")

    def ModelReady(self, request: object, context: object) -> service_pb2.ModelReadyResponse:  # noqa: N802
        """Answer that every model is ready."""
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelStreamInfer(  # noqa: N802
        self, requests: Iterator[service_pb2.ModelInferRequest], context: object
    ) -> Iterator[service_pb2.ModelStreamInferResponse]:
        """Answer with the picture; a request without inputs is a probe, which a living model refuses."""
        for request in requests:
            if not request.inputs:
                yield service_pb2.ModelStreamInferResponse(error_message="[INVALID_INPUT] prompt: is required")
            else:
                yield from self._answer


def message(**outputs: np.generic | bytes) -> service_pb2.ModelStreamInferResponse:
    """Return a message with one element for each output, as `_wire.from_message` reads it."""
    made = service_pb2.ModelStreamInferResponse()
    for name, value in outputs.items():
        if isinstance(value, bytes):
            datatype, content = "BYTES", serialize_byte_tensor(np.array([value], dtype=object)).item()
        else:
            datatype, content = np_to_triton_dtype(value.dtype), value.tobytes()
        made.infer_response.outputs.add(name=name, datatype=datatype, shape=[1])
        made.infer_response.raw_output_contents.append(content)
    return made


def start() -> tuple[Any, str]:
    """Start serving in this process; return the server and its URL."""
    limits = [(f"grpc.max_{way}_message_length", _MESSAGE_BYTES_MAX) for way in ("send", "receive")]
    server = grpc.server(ThreadPoolExecutor(8), options=limits)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(StandIn(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


@contextmanager
def serving() -> Iterator[str]:
    """Yield the URL of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stand_in"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    """Serve until standard input ends, which it does when the one who started this process is gone."""
    server, url = start()
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
