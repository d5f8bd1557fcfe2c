"""How a Python model answers: always, with a response or an error."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from .errors import Cancelled, InstaDepthError

_TRITON_CODES = {
    "INVALID_INPUT": "INVALID_ARG",
    "TOO_LARGE": "INVALID_ARG",
    "NO_FACE": "INVALID_ARG",
    "FACE_TOO_SMALL": "INVALID_ARG",
    "FACES_DIFFER": "INVALID_ARG",
    "OVERLOADED": "UNAVAILABLE",
    "CANCELLED": "CANCELLED",
}
"""Our code → Triton's, which sets the gRPC and HTTP status; INTERNAL for all others."""

_log = logging.getLogger(__name__)


async def answer(pb_utils: Any, sender: Any, response: Awaitable[Any | None]) -> None:
    """Send the result of ``response``, or its error, as the last response; None ends the stream without one.

    A client that never gets a last response waits for ever, so every request must go through here.
    """
    last = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    try:
        result = await response
    except asyncio.CancelledError:
        result = error_response(pb_utils, Cancelled("the server is shutting down"))
    except Exception as error:
        result = error_response(pb_utils, error)
    try:
        if result is None:
            sender.send(flags=last)
        else:
            sender.send(result, flags=last)
    except Exception:
        _log.warning("a client was gone before its last response", exc_info=True)


def error_response(pb_utils: Any, error: Exception) -> Any:
    """Return the response for ``error``. An unexpected error is logged and becomes ``[INTERNAL]``."""
    if not isinstance(error, InstaDepthError):
        _log.error("a request failed in a way that nobody foresaw", exc_info=error)
        error = InstaDepthError(f"{type(error).__name__}: {error}")
    code = getattr(pb_utils.TritonError, _TRITON_CODES.get(error.code, "INTERNAL"))
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))
