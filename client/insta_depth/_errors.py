"""The errors that a call can raise.

InstaDepthError
  ├─ InvalidInput            a field is missing, malformed or out of range
  │    ├─ TooLarge           … or exceeds a limit in bytes, pixels or tokens
  │    ├─ NoFace             … or is a picture without the face that it needs
  │    ├─ FaceTooSmall       … or shows a face with too few pixels to take an identity from
  │    └─ FacesDiffer        … or is several pictures that do not show the same person
  ├─ Overloaded              the server is full; send the request again later
  ├─ Cancelled               the caller cancelled
  ├─ DeadlineExceeded        no picture within the time that the caller gave
  ├─ ServerUnavailable       no server answers, it went away, or it lacks our models
  └─ EngineFailed            one of the server's networks failed

A server's error reaches a client as text only, ``[CODE] message``, or as a gRPC status. Only `from_text` and `from_rpc`
turn these into the classes below.
"""

import re

import grpc

from insta_depth.addresses import proxy_in_the_way


class InstaDepthError(Exception):
    """Base class, raised itself for failures that no subclass describes; ``code`` identifies the kind."""

    code = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(InstaDepthError):
    """A field of the request is missing, malformed or out of range; the message starts with its name."""

    code = "INVALID_INPUT"


class TooLarge(InvalidInput):
    """A field exceeds a limit in bytes, pixels or tokens."""

    code = "TOO_LARGE"


class NoFace(InvalidInput):
    """No face was found in a picture that needs one."""

    code = "NO_FACE"


class FaceTooSmall(InvalidInput):
    """The face in a picture that identity is taken from has too few pixels to tell one person from another."""

    code = "FACE_TOO_SMALL"


class FacesDiffer(InvalidInput):
    """The pictures that an identity is taken from do not show the same person."""

    code = "FACES_DIFFER"


class Overloaded(InstaDepthError):
    """The server's admission limit is reached; the same request may be sent again later."""

    code = "OVERLOADED"


class Cancelled(InstaDepthError):
    """The caller cancelled the request."""

    code = "CANCELLED"


class DeadlineExceeded(InstaDepthError):
    """The request took longer than the caller's deadline."""

    code = "DEADLINE_EXCEEDED"


class ServerUnavailable(InstaDepthError):
    """No server answers at the address, it went away during the request, or it does not serve our models."""

    code = "SERVER_UNAVAILABLE"


class EngineFailed(InstaDepthError):
    """An engine or another model of the server failed."""

    code = "ENGINE_FAILED"


ERRORS_BY_CODE: dict[str, type[InstaDepthError]] = {
    error.code: error
    for error in (
        InstaDepthError,
        InvalidInput,
        TooLarge,
        NoFace,
        FaceTooSmall,
        FacesDiffer,
        Overloaded,
        Cancelled,
        DeadlineExceeded,
        ServerUnavailable,
        EngineFailed,
    )
}

_ERRORS_BY_STATUS: dict[grpc.StatusCode, type[InstaDepthError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooLarge,
    grpc.StatusCode.NOT_FOUND: ServerUnavailable,
}

_CODED = re.compile(r"\[(?P<code>[A-Z_]+)\] (?P<message>.*)", re.DOTALL)

_CANNOT_SERVE = re.compile(
    r"unknown model|no available versions|is not ready|Stub process .*is not healthy|health mutex"
    r"|[Ss]erver (is stopping|is shutting down|not ready|exiting)|shared memory (pool|region|key)"
)
"""How Triton answers for a model that is absent, loading or whose process died, while it stops, or without memory.

From the sources of its core, server and Python backend, r24.10 and r26.09.
"""


def from_text(text: str) -> InstaDepthError:
    """Return the error that a server's text means."""
    if _CANNOT_SERVE.search(text):
        return ServerUnavailable(f"the server cannot run Insta Depth: {text}")
    return _coded(text) or InstaDepthError(text)


def from_rpc(error: grpc.RpcError, url: str, timeout_s: float | None) -> InstaDepthError:
    """Return the error that a failed call to the server at ``url`` means."""
    status, details = error.code(), error.details() or ""
    if status is grpc.StatusCode.CANCELLED:
        return Cancelled("the request was cancelled")
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"no answer within {timeout_s:g} s{_by_a_proxy(url)}")
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
        return ServerUnavailable(f"no Triton server answers at {url}{_by_a_proxy(url)} ({details})")
    kind = _ERRORS_BY_STATUS.get(status, InstaDepthError)
    return _coded(details) or kind(details or status.name)


def _by_a_proxy(url: str) -> str:
    phrase = proxy_in_the_way(url)
    return f"; {phrase}" if phrase else ""


def _coded(text: str) -> InstaDepthError | None:
    match = _CODED.search(text)
    if match is None or match["code"] not in ERRORS_BY_CODE:
        return None
    return ERRORS_BY_CODE[match["code"]](match["message"])
