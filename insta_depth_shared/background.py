"""Requests that keep running after `execute` has returned."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Background:
    """An event loop in its own thread, in which a model answers requests concurrently.

    Triton waits for a unary model's ``async def execute`` before it calls it again, so its requests would run one
    by one. It runs a decoupled model's in a loop whose executor has only a few threads, and each call of another
    model occupies one.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(max_threads, name))
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Schedule ``coroutine``, which handles its own errors, and return at once."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self, timeout_s: float) -> None:
        """Cancel all tasks, give them ``timeout_s`` to finish, and stop the loop."""
        asyncio.run_coroutine_threadsafe(_cancel_others(timeout_s), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout_s)


async def _cancel_others(timeout_s: float) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=timeout_s)
