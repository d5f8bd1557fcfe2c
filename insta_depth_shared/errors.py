"""The errors that a request can end with.

Triton passes an error through a BLS call or to a client as text only, so the code is part of the text: ``[CODE]
message``. Only `parse` reads it back.
"""

import re

_CODED = re.compile(r"\[(?P<code>[A-Z_]+)\] (?P<message>.*)", re.DOTALL)


class InstaDepthError(Exception):
    """Base class; ``code`` identifies the kind."""

    code = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"


class InvalidInput(InstaDepthError):
    """A field of the request is missing, malformed or out of range."""

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
    """The admission limit is reached; the same request may be sent again later."""

    code = "OVERLOADED"


class Cancelled(InstaDepthError):
    """The client cancelled, or its deadline passed."""

    code = "CANCELLED"


class EngineFailed(InstaDepthError):
    """An engine or another model answered with an error."""

    code = "ENGINE_FAILED"


_BY_CODE = {
    error.code: error
    for error in (
        InvalidInput,
        TooLarge,
        NoFace,
        FaceTooSmall,
        FacesDiffer,
        Overloaded,
        Cancelled,
        EngineFailed,
        InstaDepthError,
    )
}


def parse(text: str) -> InstaDepthError | None:
    """Return the error in ``text``, or None if it has no code."""
    match = _CODED.search(text)
    if match is None or match["code"] not in _BY_CODE:
        return None
    return _BY_CODE[match["code"]](match["message"])
