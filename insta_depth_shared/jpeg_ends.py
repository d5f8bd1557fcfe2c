"""Truncated JPEG files, as cameras and uploads leave them: decide whether nearly all of the picture is there.

Pillow rejects a file that only lacks its end marker, while its tolerant mode, a process-wide switch, accepts one that
lacks half. Here the file is decoded twice, without the missing data and with noise in its place: the pixels that differ
were lost.
"""

import random
import re
from collections.abc import Callable

import numpy as np

LOST_SHARE_MAX, LOST_PIXELS_MAX = 0.005, 512
"""How much may be missing: a share of the picture, or two blocks of 16 x 16 in a small one."""

_START, _END = b"\xff\xd8", b"\xff\xd9"
_RESTART_INTERVAL = 0xDD
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB}
_SCAN = 0xDA
_COEFFICIENTS = 64
_BLOCK_BYTES = 256
"""Of noise, which decodes to one block of all components."""
# A 0 after 0xFF makes it data; restart markers and fill bytes are part of a scan.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])(..)", re.DOTALL)


def decode_cut(content: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray | None:
    """Return the picture, (H, W, 3), of a JPEG file whose end is missing; None if too much is missing."""
    data = content.rstrip(b"\xff")
    if not content.startswith(_START) or (interval := _restart_interval(data)) is None:
        return None
    closed = decode(data + _END)
    pixels = closed.shape[0] * closed.shape[1]
    disturbed = decode(data + _noise(data, interval, pixels) + _END)
    lost = (closed != disturbed).any(axis=-1).sum()
    return closed if lost <= max(LOST_SHARE_MAX * pixels, LOST_PIXELS_MAX) else None


def _noise(data: bytes, interval: int, pixels: int) -> bytes:
    """Return more noise than may be missing, in pieces of ``interval`` blocks; 0 means one piece.

    A decoder resumes at the next restart marker; markers are numbered 0 to 7 in rotation.
    """
    noise = random.Random(0).randbytes(max(20_000, pixels // 5)).replace(b"\xff", b"")
    piece = interval * _BLOCK_BYTES or len(noise)
    pieces = [noise[begin : begin + piece] for begin in range(0, len(noise), piece)]
    last = max((data.rfind(bytes([0xFF, 0xD0 + number])), number) for number in range(8))[1]
    return b"".join(each + bytes([0xFF, 0xD0 + (last + 1 + index) % 8]) for index, each in enumerate(pieces))


def _restart_interval(data: bytes) -> int | None:
    """Return the number of blocks between restart markers, 0 if there are none; None if a scan is missing.

    Every coefficient of every component must have its last bit in a scan that has begun.
    """
    seen: dict[int, set[int]] = {}
    interval = 0
    position = len(_START)
    while match := _MARKER.search(data, position):
        begin, length = match.start(2), int.from_bytes(match[2], "big")
        segment, position = data[begin : begin + length], begin + length
        if position > len(data):
            return None
        if match[1][0] == _RESTART_INTERVAL:
            interval = int.from_bytes(segment[2:4], "big")
        elif match[1][0] in _FRAMES:
            seen = {component: set() for component in segment[8::3]}
        elif match[1][0] == _SCAN:
            first, last, approximation = segment[-3:]
            if approximation & 0x0F == 0:
                for component in segment[3:-3:2]:
                    seen.get(component, set()).update(range(first, last + 1))
    is_whole = bool(seen) and all(len(coefficients) == _COEFFICIENTS for coefficients in seen.values())
    return interval if is_whole else None
