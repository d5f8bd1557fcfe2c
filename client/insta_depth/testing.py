"""Transports without a server, for testing code that uses the client.

`InstaDepth(transport=FakeTransport(steps=3))` is a client that needs no server.
"""

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field

from insta_depth._cancel import CancelToken
from insta_depth._errors import Cancelled, InstaDepthError
from insta_depth._generation import Response
from insta_depth._request import GenerationRequest
from insta_depth._transport import Capabilities, ServerStatus

PICTURE = b"\xff\xd8\xff\xe0 not a real picture \xff\xd9"


@dataclass
class FakeTransport:
    """Answers every request with ``steps`` steps and ``picture``, or with ``error`` after the steps.

    ``requests`` records the requests; ``cancelled`` counts those that were cancelled midway.
    """

    picture: bytes = PICTURE
    steps: int = 10
    error: InstaDepthError | None = None
    ready: bool = True
    offers: Capabilities = field(default_factory=lambda: Capabilities(("euler", "checkpoint"), "euler"))
    requests: list[GenerationRequest] = field(default_factory=list)
    cancelled: int = 0

    def stream(
        self, request: GenerationRequest, timeout_s: float | None, cancel: CancelToken
    ) -> Generator[Response, None, None]:
        """Yield the responses of a server that takes no time."""
        self.requests.append(request)
        steps = request.num_inference_steps or self.steps
        try:
            for step in range(1, steps + 1):
                if cancel.cancelled:
                    raise Cancelled("the request was cancelled")
                preview = {"preview": PICTURE} if request.preview else {}
                yield {"step": step, "num_inference_steps": steps, **preview}
        except (Cancelled, GeneratorExit):
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        seed = 7 if request.seed in (None, -1) else request.seed
        yield {"image": self.picture, "seed": seed, "timings": b'{"total": 1.0}', "pose_face": True}

    def status(self) -> ServerStatus:
        """Say what ``ready`` says."""
        return ServerStatus("fake", {"insta_depth_stream": self.ready})

    def capabilities(self) -> Capabilities:
        """Say what ``offers`` says."""
        return self.offers

    def close(self) -> None:
        """Do nothing: there is no connection."""


class AsyncFakeTransport(FakeTransport):
    """`FakeTransport` for `AsyncInstaDepth`."""

    async def stream(  # type: ignore[override]
        self, request: GenerationRequest, timeout_s: float | None
    ) -> AsyncGenerator[Response, None]:
        """Yield the responses of a server that takes no time."""
        for response in super().stream(request, timeout_s, CancelToken()):
            yield response

    async def status(self) -> ServerStatus:  # type: ignore[override]
        """Say what ``ready`` says."""
        return super().status()

    async def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Say what ``offers`` says."""
        return self.offers

    async def close(self) -> None:  # type: ignore[override]
        """Do nothing: there is no connection."""
