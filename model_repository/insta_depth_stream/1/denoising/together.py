"""Parts of one request that run at the same time."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def together(*parts: Awaitable[Any]) -> list[Any]:
    """Return the results of ``parts`` in their order, or raise the first error in that order once all have ended.

    So of several faults the same one is named each time, and nothing of a failed request goes on without its place in
    flight, as it would with `asyncio.gather` alone.
    """
    results = await asyncio.gather(*parts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
