"""The ledger for asyncio: each call runs in a thread."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, TimeoutError

from insta_depth_gateway.accounts.ledger import Ledger
from insta_depth_gateway.errors import AccountsUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

_POSTGRESQL_THREADS = 8


class AsyncLedger:
    """Runs the calls of a `Ledger`. A call that has begun finishes even if the task awaiting it is cancelled."""

    def __init__(self, ledger: Ledger, is_single_writer: bool) -> None:
        self.ledger = ledger
        # SQLite lets one write at a time: threads would wait for each other by polling.
        threads = 1 if is_single_writer else _POSTGRESQL_THREADS
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger")

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """Call a method of the ledger in a thread and return its result. Raises `AccountsUnavailable`."""
        try:
            return await self._finished(call, *arguments)
        except (DBAPIError, TimeoutError) as error:
            logger.error("the accounts' database failed: %s", error.__cause__ or type(error).__name__)
            raise AccountsUnavailable("accounts cannot be read at the moment; try again later") from error

    async def _finished(self, call: Callable[..., T], *arguments: object) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The caller's clean-up must see what this call did.
            await asyncio.wait({future})
            raise

    def close(self) -> None:
        """Finish the calls that have begun and drop the connections."""
        self._threads.shutdown()
        self.ledger.close()
