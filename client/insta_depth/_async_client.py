"""The client for asyncio, the twin of `_client`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from insta_depth._client import DEFAULT_TIMEOUT_S, DEFAULT_URL
from insta_depth._generation import Generation, Progress, ended_early, read_response
from insta_depth._grpc import AsyncGrpcTransport
from insta_depth._request import Attributes, GenerationRequest, checked_timeout_s
from insta_depth._transport import AsyncTransport, Capabilities, ServerStatus

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncInstaDepth:
    """`InstaDepth` for asyncio. Cancelling the task that awaits an answer cancels the request on the server.

    An object belongs to the event loop in which it is first used.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        *,
        transport: AsyncTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._transport = transport or AsyncGrpcTransport(url)

    async def generate(
        self,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        deadline_s: float | None = None,
        **attributes: Unpack[Attributes],
    ) -> Generation:
        """Return the picture of the person in ``face_image`` in the pose of ``pose_image``, as ``prompt`` says.

        ``on_progress`` is called after every step; what it raises cancels the request. ``deadline_s``: seconds until
        the request is given up. The other keywords are those of `GenerationRequest`. Raises an `InstaDepthError`.
        """
        async with aclosing(self.stream(deadline_s=deadline_s, **attributes)) as events:
            while isinstance(event := await anext(events), Progress):
                if on_progress is not None:
                    on_progress(event)
            return event

    def stream(
        self, *, deadline_s: float | None = None, **attributes: Unpack[Attributes]
    ) -> AsyncGenerator[Progress | Generation, None]:
        """Return an iterator over a `Progress` after every step and, last, the `Generation`.

        Closing the iterator cancels the request: wrap it in `contextlib.aclosing` if you may leave it early.
        """
        request = GenerationRequest(**attributes)
        return self._events(request, checked_timeout_s(deadline_s, self._timeout_s))

    async def _events(
        self, request: GenerationRequest, timeout_s: float | None
    ) -> AsyncGenerator[Progress | Generation, None]:
        generation = None
        async with aclosing(self._transport.stream(request, timeout_s)) as responses:
            async for response in responses:
                event = read_response(response)
                if isinstance(event, Generation):
                    generation = event
                elif event is not None:
                    yield event
        if generation is None:
            raise ended_early()
        yield generation

    async def status(self) -> ServerStatus:
        """Ask the server whether it serves our models. Raises `ServerUnavailable` where none answers."""
        return await self._transport.status()

    async def capabilities(self) -> Capabilities:
        """Ask the server what its checkpoint offers. Raises `ServerUnavailable` where none answers."""
        return await self._transport.capabilities()

    async def close(self) -> None:
        """Drop the connection; requests that still run are cancelled."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncInstaDepth:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
