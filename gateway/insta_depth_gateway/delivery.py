"""Sending a picture or a stream of events to a caller who may disconnect at any time.

`GenerationService.stream` spends the price when it is resumed after the picture, and returns it when it is closed
before that. So the classes here resume it after sending the last byte, and close it if the caller disconnects.
"""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi.sse import format_sse_event
from insta_depth import Progress
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from insta_depth_gateway.service import Picture

T = TypeVar("T")
Events = AsyncGenerator[Progress | Picture, None]

PING_S = 15.0
"""Maximum time between two messages of a stream, so that proxies keep it open."""


class ClientGone(Exception):
    """The caller closed the connection before the answer was ready."""


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """Return what ``work`` returns; cancel it and raise `ClientGone` when the caller closes the connection."""
    working, leaving = asyncio.ensure_future(work), asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait({working, leaving})


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def last_of(events: Events) -> Picture:
    """Skip the progress and return the picture; the stream is suspended there, with its price not yet spent."""
    async for event in events:
        if isinstance(event, Picture):
            return event
    raise TypeError("a stream ends with a picture")


class PictureAnswer(Response):
    """A picture response; ``events`` is resumed once the picture is sent."""

    def __init__(self, content: bytes, media_type: str, headers: Mapping[str, str], events: Events) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the picture, then spend its price."""
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)
            await anext(self._events, None)


class EventAnswer(Response):
    """Server-sent events: ``first`` and the rest of ``events``, or the error that ends them."""

    media_type = "text/event-stream"

    def __init__(
        self,
        first: Progress | Picture,
        events: Events,
        headers: Mapping[str, str],
        on_error: Any,
        ping_s: float = PING_S,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers})
        del self.headers["content-length"]
        self._first, self._events, self._on_error, self._ping_s = first, events, on_error, ping_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they arrive, until the last one or until the caller disconnects."""
        async with aclosing(self._events):
            try:
                await unless_gone(receive, self._send_all(send))
            except ClientGone:
                return

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            event: Progress | Picture | None = self._first
            while event is not None:
                await _send_chunk(send, _as_event(event))
                event = await self._next(send)
        except Exception as error:
            await _send_chunk(send, format_sse_event(event="error", data_str=json.dumps(self._on_error(error))))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self, send: Send) -> Progress | Picture | None:
        """Return the stream's next event, or None at its end; send keep-alives meanwhile."""
        coming = asyncio.ensure_future(anext(self._events, None))
        try:
            while not (await asyncio.wait({coming}, timeout=self._ping_s))[0]:
                await _send_chunk(send, format_sse_event(comment="still at work"))
            return coming.result()
        finally:
            coming.cancel()
            await asyncio.wait({coming})


async def _send_chunk(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


def _as_event(event: Progress | Picture) -> bytes:
    if isinstance(event, Progress) and event.ahead:
        return format_sse_event(event="waiting", data_str=json.dumps({"ahead": event.ahead}))
    if isinstance(event, Progress):
        preview = {"preview": as_base64(event.preview)} if event.preview is not None else {}
        said = {"step": event.step, "num_inference_steps": event.num_inference_steps, **preview}
        return format_sse_event(event="progress", data_str=json.dumps(said))
    generation = event.generation
    told = {
        "image": as_base64(generation.image),
        "output_format": generation.output_format,
        "seed": generation.seed,
        "pose_face": generation.pose_face,
        "refined": generation.refined,
        "warnings": list(generation.warnings),
        "cost": float(event.cost),
        "remaining_credits": float(event.remaining),
        "queue_time": round(event.queue_ms / 1000, 3),
        "generation_time": round(event.generation_ms / 1000, 3),
    }
    return format_sse_event(event="image", data_str=json.dumps(told))


def as_base64(content: bytes) -> str:
    """Return bytes as base64 text."""
    return base64.b64encode(content).decode("ascii")
