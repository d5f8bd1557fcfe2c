"""What goes over the wire, to a caller who may leave at any time."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from insta_depth import Generation, Progress
from insta_depth_gateway.delivery import ClientGone, EventAnswer, PictureAnswer, unless_gone
from insta_depth_gateway.service import Picture

SCOPE = {"type": "http"}
PICTURE = Picture(Generation(b"\xff\xd8\xff", 7), Decimal(2), Decimal(8), 1.0, 2.0)


class Work:
    """A stream of events that notes how it ended."""

    def __init__(self, *pauses_s: float, error: Exception | None = None) -> None:
        self.end = "not begun"
        self._pauses_s, self._error = pauses_s, error

    async def events(self) -> Any:
        self.end = "closed"
        for step, pause_s in enumerate(self._pauses_s, 1):
            await asyncio.sleep(pause_s)
            yield Progress(step, len(self._pauses_s))
        if self._error:
            raise self._error
        yield PICTURE
        self.end = "paid"


class Wire:
    """A caller: keeps what is sent, and leaves when told to."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.leaves = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def receive(self) -> Any:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def streamed(work: Work, wire: Wire, ping_s: float = 15) -> None:
    events = work.events()
    first = await anext(events)
    answer = EventAnswer(first, events, {}, lambda error: {"error": str(error), "code": "X"}, ping_s)
    await answer(SCOPE, wire.receive, wire.send)


async def test_a_stream_is_paid_for_after_its_last_event():
    work, wire = Work(0, 0), Wire()
    await streamed(work, wire)
    assert [line for line in wire.content.split(b"\n") if line.startswith(b"event")] == [
        b"event: progress",
        b"event: progress",
        b"event: image",
    ]
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert work.end == "paid"


async def test_a_request_that_waits_is_told_how_many_are_ahead():
    async def events() -> Any:
        yield Progress(0, 9, ahead=2)
        yield PICTURE

    wire, coming = Wire(), events()
    await EventAnswer(await anext(coming), coming, {}, str)(SCOPE, wire.receive, wire.send)
    assert wire.content.startswith(b'event: waiting\ndata: {"ahead": 2}\n\nevent: image')


async def test_a_stream_says_something_while_a_step_takes_long():
    work, wire = Work(0, 0.2), Wire()
    await streamed(work, wire, ping_s=0.05)
    assert wire.content.count(b": still at work") >= 2
    assert work.end == "paid"


async def test_a_caller_who_leaves_a_stream_closes_it():
    work, wire = Work(0, 60), Wire()
    asyncio.get_running_loop().call_later(0.05, wire.leaves.set)
    await asyncio.wait_for(streamed(work, wire), 5)
    assert work.end == "closed"


async def test_an_error_in_a_stream_is_its_last_event():
    work, wire = Work(0, error=RuntimeError("why")), Wire()
    await streamed(work, wire)
    assert wire.content.endswith(b'event: error\ndata: {"error": "why", "code": "X"}\n\n')
    assert work.end == "closed"


async def test_a_picture_is_paid_for_once_it_is_sent():
    work, wire = Work(), Wire()
    events = work.events()
    await anext(events)
    answer = PictureAnswer(b"a picture", "image/jpeg", {"x-cost": "2"}, events)
    assert work.end == "closed"
    await answer(SCOPE, wire.receive, wire.send)
    assert wire.content == b"a picture"
    assert work.end == "paid"


async def test_a_picture_that_cannot_be_sent_is_not_paid_for():
    work = Work()
    events = work.events()
    await anext(events)

    async def broken(_message: Any) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await PictureAnswer(b"a picture", "image/jpeg", {}, events)(SCOPE, Wire().receive, broken)
    assert work.end == "closed"


async def test_work_is_cancelled_when_the_caller_leaves():
    wire, was_cancelled = Wire(), asyncio.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    asyncio.get_running_loop().call_later(0.05, wire.leaves.set)
    with pytest.raises(ClientGone):
        await unless_gone(wire.receive, long())
    assert was_cancelled.is_set()


async def test_work_that_fails_fails():
    async def failing() -> None:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await unless_gone(Wire().receive, failing())


async def test_a_task_cancelled_from_outside_takes_its_work_with_it():
    work = asyncio.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            work.set()

    task = asyncio.create_task(unless_gone(Wire().receive, long()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.is_set()
