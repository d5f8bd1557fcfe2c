"""One request in, one picture out: a unary version of ``insta_depth_stream``, without progress."""

import asyncio
import logging
import uuid
from typing import Any

import triton_python_backend_utils as pb_utils

from insta_depth_shared.answers import answer
from insta_depth_shared.background import Background
from insta_depth_shared.bls import CANCEL, CANCELLATION_KEY, Arrays, Bls
from insta_depth_shared.errors import EngineFailed

STREAM = "insta_depth_stream"
OUTPUTS = ("image", "seed", "timings", "pose_face", "refined", "warnings")
CANCELLATION_POLL_S = 0.1
MAX_THREADS = 256
"""Each waiting request occupies one thread. They are created on demand, so the admission limit is reached first."""
GOODBYE_S = 1.0


class TritonPythonModel:
    """The model ``insta_depth``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Start the event loop."""
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        self._bls = Bls(pb_utils)
        self._background = Background("insta_depth", MAX_THREADS)

    def execute(self, requests: list[Any]) -> None:
        """Start each request; its response is sent later through its response sender."""
        for request in requests:
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            sender = request.get_response_sender()
            self._background.start(answer(pb_utils, sender, self._respond(request, tensors)))

    def finalize(self) -> None:
        """Cancel the requests in progress."""
        self._background.stop(GOODBYE_S)

    async def _respond(self, request: Any, tensors: Arrays) -> Any:
        picture = await self._generate(request, tensors)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, picture[name]) for name in OUTPUTS if name in picture])

    async def _generate(self, request: Any, tensors: Arrays) -> Arrays:
        key = uuid.uuid4().hex
        picture = asyncio.create_task(self._last_response(tensors, key))
        while not (await asyncio.wait({picture}, timeout=CANCELLATION_POLL_S))[0]:
            if request.is_cancelled():
                await self._cancel(key)
        return picture.result()

    async def _last_response(self, tensors: Arrays, key: str) -> Arrays:
        last: Arrays = {}
        async for response in self._bls.stream(STREAM, tensors, OUTPUTS, {CANCELLATION_KEY: key}):
            last = response
        if not last:
            raise EngineFailed(f"{STREAM}: ended without a picture")
        return last

    async def _cancel(self, key: str) -> None:
        """Send it again at each poll, since the first one may arrive before the request does."""
        async for _ in self._bls.stream(STREAM, {}, OUTPUTS, {CANCEL: key}):
            pass
