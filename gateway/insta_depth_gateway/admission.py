"""Admission: the queue in front of Triton, and the rate limit of each key."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from insta_depth_gateway.accounts.ledger import Account
from insta_depth_gateway.errors import Busy, RateLimited


class AdmissionQueue:
    """At most ``max_in_flight`` requests in flight and ``max_waiting`` waiting, each for at most ``timeout_s``.

    Keys take turns; of one key, first come, first served. So a key with many requests delays another's single one by
    one turn. Bound to the event loop in which it is first used.
    """

    def __init__(self, max_in_flight: int, max_waiting: int, timeout_s: float) -> None:
        self._max_in_flight, self._max_waiting, self._timeout_s = max_in_flight, max_waiting, timeout_s
        self._in_flight = 0
        # By key, the next turn first. A future's result: True for a slot, False for a timeout.
        self._waiters: dict[Hashable, deque[asyncio.Future[bool]]] = {}

    @property
    def in_flight(self) -> int:
        """Requests that hold a slot."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return sum(not waiter.done() for waiters in self._waiters.values() for waiter in waiters)

    @asynccontextmanager
    async def slot(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for a slot and hold it until the block ends.

        ``key``: whose request it is.

        Raises `Busy`: at once if the queue is full, else after ``timeout_s``.
        """
        if self._in_flight < self._max_in_flight:
            self._in_flight += 1
        else:
            await self._wait(key)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, key: Hashable) -> None:
        """Return with a slot, or raise."""
        if self.waiting >= self._max_waiting:
            raise Busy(f"{self._in_flight} requests are at work and {self.waiting} wait, which is the limit")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.setdefault(key, deque()).append(waiter)
        timer = loop.call_later(self._timeout_s, _give, waiter, False)
        try:
            granted = await waiter
        except asyncio.CancelledError:
            # The slot may have arrived in the same tick as the cancellation: pass it on to the next in the queue.
            if not waiter.cancelled() and waiter.result():
                self._pass_on()
            raise
        finally:
            timer.cancel()
            self._forget(key, waiter)
        if not granted:
            raise Busy(f"no slot within {self._timeout_s:g} s, which is the limit for waiting")

    def _pass_on(self) -> None:
        """Give the released slot to the next request still waiting, if any, and its key the last turn.

        The slot is never free in between, so that no later request can take it.
        """
        while self._waiters:
            key = next(iter(self._waiters))
            waiters = self._waiters.pop(key)
            is_given = _give(waiters.popleft(), True)
            if waiters:
                self._waiters[key] = waiters
            if is_given:
                return
        self._in_flight -= 1

    def _forget(self, key: Hashable, waiter: asyncio.Future[bool]) -> None:
        waiters = self._waiters.get(key, deque())
        with suppress(ValueError):
            waiters.remove(waiter)
        if not waiters:
            self._waiters.pop(key, None)


def _give(waiter: asyncio.Future[bool], granted: bool) -> bool:
    """Wake the waiting request; False if it no longer waits."""
    if waiter.done():
        return False
    waiter.set_result(granted)
    return True


class RateLimiter:
    """Counts the requests of each key in this process.

    ``limit_per_minute`` applies to keys without their own limit; 0: no limit.
    """

    def __init__(self, limit_per_minute: int) -> None:
        self._limit = limit_per_minute
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def check(self, account: Account) -> None:
        """Count one request of the account. Raises `RateLimited`."""
        own = account.rate_limit_per_minute
        limit = self._limit if own is None else own
        if limit == 0:
            return
        item, key = RateLimitItemPerMinute(limit), str(account.id)
        if not await self._limiter.hit(item, key):
            window = await self._limiter.get_window_stats(item, key)
            raise RateLimited(limit, max(1, math.ceil(window.reset_time - time.time())))
