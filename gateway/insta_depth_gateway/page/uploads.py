"""Upload limits: Gradio accepts pictures before any key is checked."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers

from insta_depth_gateway.errors import BadRequest, BodyTooLarge, Busy

_MULTIPART_BYTES = 2**16
"""Maximum size of a multipart body beside its file."""
_SMALLEST_FILE_BYTES = 4096
"""Minimum size of a file on disk."""


@dataclass(frozen=True)
class UploadLimits:
    """Bytes of one picture and of all that are kept; files not used for ``keep_s`` seconds are deleted."""

    picture_bytes: int = 16 * 2**20
    total_bytes: int = 2 * 2**30
    keep_s: int = 3600


class Uploads:
    """The uploads within the time for which files are kept, to bound their size on disk."""

    def __init__(self, limits: UploadLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._kept: deque[tuple[float, int]] = deque()
        self._kept_bytes = 0

    def admit(self, headers: Headers) -> None:
        """Count an upload by its header alone: Gradio limits each file, but accepts a thousand at once.

        Raises `BadRequest`, `BodyTooLarge`, or `Busy` if all uploads together are too large.
        """
        length, limits = headers.get("content-length", ""), self._limits
        if not length.isdecimal():
            raise BadRequest("Content-Length: is missing")
        if int(length) > limits.picture_bytes + _MULTIPART_BYTES:
            raise BodyTooLarge(f"upload: {length} bytes are above the maximum {limits.picture_bytes}")
        self._forget_deleted()
        size = max(int(length), _SMALLEST_FILE_BYTES)
        if self._kept_bytes + size > limits.total_bytes:
            raise Busy(f"uploads of the last {limits.keep_s} s are above the maximum {limits.total_bytes} bytes")
        self._kept.append((self._clock(), size))
        self._kept_bytes += size

    def _forget_deleted(self) -> None:
        while self._kept and self._kept[0][0] < self._clock() - self._limits.keep_s:
            self._kept_bytes -= self._kept.popleft()[1]
