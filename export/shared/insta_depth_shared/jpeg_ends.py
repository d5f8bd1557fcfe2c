"""JPEG files that were cut a little early, as a camera or an upload leaves them: is nearly all of the picture there?

Pillow refuses a file for its missing end marker alone, and its tolerant mode, a switch of the whole process, takes one
of which half is missing. Here the file is decoded twice, once with nothing and once with noise in the place of what is
missing: the pixels that differ are those that were lost.
"""

import random
import re
from collections.abc import Callable

import numpy as np

LOST_MAX = 0.005
"""The share of pixels that may be missing."""

_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB}
_SCAN = 0xDA
_COEFFICIENTS = 64
# A 0 after 0xFF makes it data; restart markers and fill bytes are part of a scan.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])(..)", re.DOTALL)


def decode_cut(content: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray | None:
    """Return the picture, (H, W, 3), of a JPEG file whose end is missing; None where too much of it is."""
    data = content.rstrip(b"\xff")
    if not content.startswith(_START) or not _has_every_scan(data):
        return None
    noise = random.Random(0).randbytes(max(4096, len(data) // 50)).replace(b"\xff", b"")
    closed, disturbed = decode(data + _END), decode(data + noise + _END)
    lost = (closed != disturbed).any(axis=-1).mean()
    return closed if lost <= LOST_MAX else None


def _has_every_scan(data: bytes) -> bool:
    """Whether the last bit of every coefficient of every component is in a scan that has begun."""
    seen: dict[int, set[int]] = {}
    position = len(_START)
    while match := _MARKER.search(data, position):
        begin, length = match.start(2), int.from_bytes(match[2], "big")
        segment, position = data[begin : begin + length], begin + length
        if match[1][0] in _FRAMES:
            seen = {component: set() for component in segment[8::3]}
        elif match[1][0] == _SCAN:
            first, last, approximation = segment[-3:]
            if approximation & 0x0F == 0:
                for component in segment[3:-3:2]:
                    seen.get(component, set()).update(range(first, last + 1))
    return bool(seen) and all(len(coefficients) == _COEFFICIENTS for coefficients in seen.values())
