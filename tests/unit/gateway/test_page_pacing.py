"""The service's stream at the pace of a visitor's browser: what is shown, what is left out, when it is paid for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from decimal import Decimal

import pytest
from insta_depth import Generation, Progress
from insta_depth_gateway.errors import BodyTooLarge, Busy
from insta_depth_gateway.page.throttling import Cancelled, throttled
from insta_depth_gateway.page.uploads import UploadLimits, Uploads
from insta_depth_gateway.service import Picture
from starlette.datastructures import Headers

PICTURE = Picture(Generation(b"a picture", 7), Decimal(1), Decimal(9), 0, 0)
TICK_S = 10.0


class Work:
    """A stream of ``steps`` steps, ``step_s`` apart, that notes how it ended."""

    def __init__(self, steps: int, step_s: float = 0.0, error: Exception | None = None) -> None:
        self.end = "not begun"
        self._steps, self._step_s, self._error = steps, step_s, error

    async def events(self) -> AsyncGenerator[Progress | Picture, None]:
        self.end = "closed"
        for step in range(1, self._steps + 1):
            await asyncio.sleep(self._step_s)
            yield Progress(step, self._steps)
        if self._error:
            raise self._error
        yield PICTURE
        self.end = "paid"


async def test_everything_is_shown_to_a_quick_browser_and_then_paid_for():
    work = Work(5, step_s=0.01)
    shown = [event async for event in throttled(work.events(), TICK_S, asyncio.Event())]
    assert shown[:4] == [Progress(step, 5) for step in range(1, 5)]
    assert shown[-1] == PICTURE
    assert work.end == "paid"


async def test_a_slow_browser_gets_the_newest_step_and_the_picture():
    work, shown = Work(100, step_s=0.001), []
    async for event in throttled(work.events(), TICK_S, asyncio.Event()):
        shown.append(event)
        await asyncio.sleep(0.03)
    steps = [event.step for event in shown[:-1]]
    assert len(steps) < 30
    assert steps == sorted(set(steps))
    assert shown[-1] == PICTURE
    assert work.end == "paid"


@pytest.mark.parametrize("browser_s", [0, 0.05], ids=["quick", "slow"])
async def test_a_picture_is_not_paid_for_before_it_was_shown(browser_s):
    """Also where it came while the browser was still busy with a step."""
    work = Work(3, step_s=0.01)
    async with aclosing(throttled(work.events(), TICK_S, asyncio.Event())) as events:
        async for event in events:
            await asyncio.sleep(browser_s)
            if event is PICTURE:
                await asyncio.sleep(0.05)
                break
            assert work.end == "closed"
    assert work.end == "closed"


async def test_silence_is_told_again_and_again():
    work = Work(1, step_s=60)
    async with aclosing(throttled(work.events(), 0.01, asyncio.Event())) as events:
        assert [await anext(events) for _ in range(3)] == [None, None, None]
    assert work.end == "closed"


async def test_cancelling_ends_the_silence_at_once():
    work, cancelled = Work(1, step_s=60), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, cancelled.set)
    with pytest.raises(Cancelled):
        await asyncio.wait_for(anext(throttled(work.events(), TICK_S, cancelled)), TICK_S / 2)
    assert work.end == "closed"


async def test_a_picture_that_was_shown_is_paid_for_though_it_is_cancelled():
    work, cancelled = Work(1), asyncio.Event()
    async for event in throttled(work.events(), TICK_S, cancelled):
        if event is PICTURE:
            cancelled.set()
    assert work.end == "paid"


async def test_an_error_comes_after_what_came_before_it():
    events = throttled(Work(2, 0.01, ValueError("why")).events(), TICK_S, asyncio.Event())
    assert [await anext(events), await anext(events)] == [Progress(1, 2), Progress(2, 2)]
    with pytest.raises(ValueError, match="why"):
        await asyncio.wait_for(anext(events), TICK_S / 2)


def test_uploads_together_are_limited_until_they_are_deleted():
    now_s = 0.0
    uploads = Uploads(UploadLimits(picture_bytes=10_000, total_bytes=25_000, keep_s=60), clock=lambda: now_s)
    upload = Headers({"content-length": "10000"})
    uploads.admit(upload)
    uploads.admit(upload)
    with pytest.raises(Busy, match="25000"):
        uploads.admit(upload)
    now_s = 61.0
    uploads.admit(upload)


def test_empty_uploads_count_too():
    uploads = Uploads(UploadLimits(total_bytes=10_000))
    for _ in range(2):
        uploads.admit(Headers({"content-length": "0"}))
    with pytest.raises(Busy):
        uploads.admit(Headers({"content-length": "0"}))


def test_an_upload_that_is_too_large_is_not_counted():
    uploads = Uploads(UploadLimits(picture_bytes=10, total_bytes=100_000))
    with pytest.raises(BodyTooLarge, match="10"):
        uploads.admit(Headers({"content-length": "90000"}))
    for _ in range(24):
        uploads.admit(Headers({"content-length": "10"}))
