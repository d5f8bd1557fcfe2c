"""Responding to a request whose body was not read to its end.

Most clients read no response before they have sent the whole body; if the connection is closed meanwhile, they never
see it. So the rest of the body is read and dropped first, within limits; beyond them the connection is closed.
"""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_BYTES = 64 * 2**20
DRAIN_S = 10.0


class Draining:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and drain its body before the response's first byte."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive)

        async def send_after_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "connection" not in headers and not await body.is_read_to_the_end():
                    headers["connection"] = "close"
            await send(message)

        await self._app(scope, body.receive, send_after_body)


class _Body:
    """The incoming body of one request."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._waits_for_leave = Headers(scope=scope).get("expect", "").lower() == "100-continue"
        self._is_over = False

    async def receive(self) -> Message:
        self._waits_for_leave = False  # asking for the body makes the server send "100 Continue"
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._is_over = True
        return message

    async def is_read_to_the_end(self) -> bool:
        """Drop the rest; False if it is too much or has not been sent yet."""
        if self._is_over or self._waits_for_leave:
            return self._is_over
        try:
            await asyncio.wait_for(self._drop(), DRAIN_S)
        except asyncio.TimeoutError:
            return False
        return self._is_over

    async def _drop(self) -> None:
        dropped = 0
        while not self._is_over and dropped <= DRAIN_BYTES:
            dropped += len((await self.receive()).get("body", b""))
