"""Who may ask Triton now, who waits, and who is turned away."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from insta_depth_gateway.errors import Busy


class Line:
    """At most ``max_in_flight`` at work, at most ``max_waiting`` waiting, each for at most ``timeout_s``.

    First come, first served. A line belongs to the event loop in which it is first used.
    """

    def __init__(self, max_in_flight: int, max_waiting: int, timeout_s: float) -> None:
        self._max_in_flight, self._max_waiting, self._timeout_s = max_in_flight, max_waiting, timeout_s
        self._in_flight = 0
        # True in a future is a turn, False is none in time.
        self._waiters: deque[asyncio.Future[bool]] = deque()

    @property
    def in_flight(self) -> int:
        """How many have their turn."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many wait for theirs."""
        return sum(not waiter.done() for waiter in self._waiters)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it until the block ends.

        Raises `Busy`: at once where the line is full, else after ``timeout_s``.
        """
        if self._in_flight < self._max_in_flight:
            self._in_flight += 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self) -> None:
        """Return with a turn, or raise."""
        if self.waiting >= self._max_waiting:
            raise Busy(f"{self._in_flight} requests are at work and {self.waiting} wait, which is the limit")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(self._timeout_s, _give, waiter, False)
        try:
            granted = await waiter
        except asyncio.CancelledError:
            # The turn can have come in the tick of the cancellation: somebody else has to get it.
            if not waiter.cancelled() and waiter.result():
                self._pass_on()
            raise
        finally:
            timer.cancel()
            with suppress(ValueError):
                self._waiters.remove(waiter)
        if not granted:
            raise Busy(f"no turn within {self._timeout_s:g} s, which is the limit for waiting")

    def _pass_on(self) -> None:
        """Give a turn that ended to the first who still waits; where nobody does, it is free.

        The turn never is free in between, so that nobody who comes later can take it.
        """
        while self._waiters:
            if _give(self._waiters.popleft(), True):
                return
        self._in_flight -= 1


def _give(waiter: asyncio.Future[bool], granted: bool) -> bool:
    """Wake the one who waits; False where it is too late for that."""
    if waiter.done():
        return False
    waiter.set_result(granted)
    return True
