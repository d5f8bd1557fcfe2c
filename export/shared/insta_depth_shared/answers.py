"""How an error leaves a Python model."""

from typing import Any

from .errors import InstaDepthError

_TRITON_CODES = {
    "INVALID_INPUT": "INVALID_ARG",
    "TOO_LARGE": "INVALID_ARG",
    "NO_FACE": "INVALID_ARG",
    "OVERLOADED": "UNAVAILABLE",
    "CANCELLED": "CANCELLED",
}
"""Our code → Triton's, which becomes gRPC's and HTTP's status; INTERNAL where absent."""


def error_response(pb_utils: Any, error: Exception) -> Any:
    """Return the response that carries ``error``; one that we did not foresee becomes ``[INTERNAL]``."""
    if not isinstance(error, InstaDepthError):
        error = InstaDepthError(f"{type(error).__name__}: {error}")
    code = getattr(pb_utils.TritonError, _TRITON_CODES.get(error.code, "INTERNAL"))
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))
