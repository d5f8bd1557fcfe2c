"""A stream of the service, throttled to the speed of a visitor's browser."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from insta_depth import Progress

if TYPE_CHECKING:
    from insta_depth_gateway.service import Picture


class Cancelled(Exception):
    """The visitor no longer wants the picture."""


async def throttled(
    events: "AsyncGenerator[Progress | Picture, None]", tick_s: float, cancelled: asyncio.Event
) -> "AsyncGenerator[Progress | Picture | None, None]":
    """Yield the newest event, or None after ``tick_s`` without one; its end closes the events.

    Setting ``cancelled`` before the picture was shown raises `Cancelled` at once.

    Outdated progress is dropped. The events are resumed after the picture only when this generator is, so a picture
    is paid for once it was shown. Gradio notices that a visitor has left only when something is yielded.
    """
    newest = _Newest()
    reading = asyncio.create_task(newest.read(events))
    cancelling = asyncio.create_task(cancelled.wait())
    cancelling.add_done_callback(lambda _: newest.has_come.set())
    try:
        while True:
            if not reading.done():
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(newest.has_come.wait(), tick_s)
            if cancelled.is_set() and not newest.picture_is_shown.is_set():
                raise Cancelled
            event = newest.take()
            if event is None and reading.done():
                break
            yield event
            if event is not None and not isinstance(event, Progress):
                newest.picture_is_shown.set()
        await reading
    finally:
        cancelling.cancel()
        reading.cancel()
        await asyncio.wait({reading})


class _Newest:
    """The newest event that was not shown yet. One task reads all events."""

    def __init__(self) -> None:
        self.has_come, self.picture_is_shown = asyncio.Event(), asyncio.Event()
        self._event: Progress | Picture | None = None

    def take(self) -> "Progress | Picture | None":
        event, self._event = self._event, None
        self.has_come.clear()
        return event

    async def read(self, events: "AsyncGenerator[Progress | Picture, None]") -> None:
        try:
            async with aclosing(events):
                async for self._event in events:
                    self.has_come.set()
                    if not isinstance(self._event, Progress):
                        await self.picture_is_shown.wait()
        finally:
            self.has_come.set()
