"""How many requests a key may send in a minute."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from insta_depth_gateway.accounts.ledger import Account
from insta_depth_gateway.errors import RateLimited


class Pace:
    """Counts in this process. ``limit_per_minute`` is for keys without a limit of their own; 0 is none."""

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
