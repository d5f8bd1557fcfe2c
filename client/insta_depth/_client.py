"""The client for ordinary code; `_async_client` holds its twin for asyncio."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING

from insta_depth._cancel import CancelToken
from insta_depth._generation import Generation, Progress, ended_early, read_response
from insta_depth._grpc import GrpcTransport
from insta_depth._request import Attributes, GenerationRequest, checked_timeout_s
from insta_depth._transport import Capabilities, ServerStatus, Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 600.0


class InstaDepth:
    """A connection to a Triton server that serves Insta Depth. Threads may share one; use it as a context manager.

    ``url``: host and port of Triton's gRPC. ``timeout_s``: the deadline of requests that give none; None for no limit.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        *,
        transport: Transport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._transport = transport or GrpcTransport(url)

    def generate(
        self,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        deadline_s: float | None = None,
        cancel: CancelToken | None = None,
        **attributes: Unpack[Attributes],
    ) -> Generation:
        """Return the picture of the person in ``face_image`` in the pose of ``pose_image``, as ``prompt`` says.

        ``on_progress`` is called after every step, in this thread; what it raises cancels the request.
        ``deadline_s``: seconds until the request is given up. ``cancel``: a token with which another thread ends it.
        The other keywords are those of `GenerationRequest`. Raises an `InstaDepthError`.
        """
        with closing(self.stream(deadline_s=deadline_s, cancel=cancel, **attributes)) as events:
            while isinstance(event := next(events), Progress):
                if on_progress is not None:
                    on_progress(event)
            return event

    def stream(
        self,
        *,
        deadline_s: float | None = None,
        cancel: CancelToken | None = None,
        **attributes: Unpack[Attributes],
    ) -> Generator[Progress | Generation, None, None]:
        """Return an iterator over a `Progress` after every step and, last, the `Generation`.

        Closing the iterator cancels the request. The keywords are those of `generate`.
        """
        request = GenerationRequest(**attributes)
        timeout_s = checked_timeout_s(deadline_s, self._timeout_s)
        return self._events(request, timeout_s, cancel or CancelToken())

    def _events(
        self, request: GenerationRequest, timeout_s: float | None, cancel: CancelToken
    ) -> Generator[Progress | Generation, None, None]:
        generation = None
        with closing(self._transport.stream(request, timeout_s, cancel)) as responses:
            for response in responses:
                event = read_response(response)
                if isinstance(event, Generation):
                    generation = event
                elif event is not None:
                    yield event
        if generation is None:
            raise ended_early()
        yield generation

    def status(self) -> ServerStatus:
        """Ask the server whether it serves our models. Raises `ServerUnavailable` where none answers."""
        return self._transport.status()

    def capabilities(self) -> Capabilities:
        """Ask the server what its checkpoint offers. Raises `ServerUnavailable` where none answers."""
        return self._transport.capabilities()

    def close(self) -> None:
        """Drop the connection; requests that still run are cancelled."""
        self._transport.close()

    def __enter__(self) -> InstaDepth:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
