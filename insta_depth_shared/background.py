"""Requests that run on while `execute` returns."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Background:
    """An event loop in a thread of its own, in which a model answers its requests side by side.

    Triton waits for a unary model's ``async def execute`` before it calls it again, so that its requests
    would run one by one; a decoupled model's it starts in a loop whose executor has only a few threads,
    though each call of another model waits in one.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(max_threads, name))
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run ``coroutine``, which handles its own errors, and return at once."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self, timeout_s: float) -> None:
        """Cancel what still runs, let it say goodbye for ``timeout_s`` and end the loop."""
        asyncio.run_coroutine_threadsafe(_cancel_others(timeout_s), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout_s)


async def _cancel_others(timeout_s: float) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=timeout_s)
