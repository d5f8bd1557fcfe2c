"""Decoding and encoding pictures: file bytes or base64 text in, file bytes out."""

import base64
import binascii
import io
import re
import string
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image, ImageFile, ImageOps

from .errors import InvalidInput, TooLarge
from .jpeg_ends import decode_cut
from .marks import Mark

READABLE = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_READABLE = ", ".join(READABLE)
WRITABLE = ("jpeg", "png", "webp")

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_THIRTY_TWO_BIT = ("I", "F")
_PRINTABLE = string.printable.encode()
_WHITESPACE = string.whitespace.encode()
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_UTF8_MARK = b"\xef\xbb\xbf"

_OTHER_FORMATS = {
    "HEIC": rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)",
    "AVIF": rb"....ftypavi[fs]",
    "JPEG XL": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "JPEG 2000": rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  ",
    "video": rb"....ftyp|\x1a\x45\xdf\xa3",
    "PDF": rb"%PDF",
    "Photoshop": rb"8BPS",
    "SVG": rb"\s*<(\?xml|svg|!DOCTYPE svg)",
    "HTML": rb"(?i)\s*<(!doctype )?html",
}
"""Formats that callers take for one of `READABLE`, by their first bytes."""


@dataclass(frozen=True)
class PictureLimits:
    """``max_bytes``: of the file, after base64; ``max_pixels``: width × height in its header."""

    max_bytes: int
    max_pixels: int


def decode_picture(data: bytes, field: str, limits: PictureLimits) -> np.ndarray:
    """Return the picture in ``data`` as (H, W, 3) uint8 RGB, upright and over white.

    ``data`` is a file's bytes, its base64 text or a base64 data URI. An animation gives its first frame.
    Errors (`InvalidInput`, `TooLarge`) start with ``field``.
    """
    if not data:
        raise InvalidInput(f"{field}: is empty; a picture is needed")
    content = _from_text(data.removeprefix(_UTF8_MARK), field) if _is_text(data) else data
    if len(content) > limits.max_bytes:
        raise TooLarge(f"{field}: {len(content)} bytes are above the maximum {limits.max_bytes}")
    try:
        return _decode_whole_or_cut(content, field, limits.max_pixels)
    except InvalidInput:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"{field}: {error}; the maximum is {limits.max_pixels} pixels") from error
    except Exception as error:  # a damaged file makes Pillow's parsers raise almost anything
        raise InvalidInput(f"{field}: {len(content)} bytes are a damaged picture: {error}") from error


def resize_for_model(image: np.ndarray, min_side: int, max_side: int, multiple: int) -> np.ndarray:
    """Scale as InstantID does: the longer side becomes ``max_side``, each side a multiple of ``multiple``.

    The proportions are those of the picture scaled to a shorter side of ``min_side``, with both sides rounded. The
    picture is resized twice, bilinear: to the scaled size, then to that size floored to multiples, at least one.
    ``image``, result: (H, W, 3) uint8.
    """
    height, width = image.shape[:2]
    proportions = _scaled((width, height), min_side / min(width, height))
    scaled = _scaled(proportions, max_side / max(proportions))
    width, height = (max(side // multiple, 1) * multiple for side in scaled)
    picture = Image.fromarray(image).resize(scaled, Image.Resampling.BILINEAR)
    return np.array(picture.resize((width, height), Image.Resampling.BILINEAR))


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Round each side to at least one pixel: a very thin picture's shorter side would become 0."""
    width, height = (max(round(factor * side), 1) for side in size)
    return width, height


def encode_picture(image: np.ndarray, output_format: str, quality: int, mark: Mark | None = None) -> bytes:
    """Return ``image``, (H, W, 3) uint8 RGB, as the bytes of a jpeg, png or webp file.

    ``quality``, 1 to 100, has no effect on png, which is lossless. ``mark``: what the file says beside its pixels.
    """
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"quality": quality, "subsampling": "4:4:4", "optimize": True},
        "png": {},
        "webp": {"quality": quality},
    }
    buffer = io.BytesIO()
    marked = mark.options(output_format) if mark else {}
    Image.fromarray(image).save(buffer, output_format, **options[output_format], **marked)
    return buffer.getvalue()


def _is_text(data: bytes) -> bool:
    """Every readable format has a non-text byte in its first 64."""
    return not data.removeprefix(_UTF8_MARK)[:64].translate(None, _PRINTABLE)


def _from_text(text: bytes, field: str) -> bytes:
    """Decode base64: padded or not, either alphabet, with or without line breaks, alone or in a data URI."""
    if not text[:9].lstrip().lower().startswith(b"data:"):
        return _from_base64(text, field)
    head, _, body = text.partition(b",")
    body = unquote_to_bytes(body) if b"%" in body else body
    return _from_base64(body, field) if re.search(rb"(?i);\s*base64\s*$", head) else body


def _from_base64(text: bytes, field: str) -> bytes:
    if other := _other_format(text):
        raise InvalidInput(f"{field}: {len(text)} bytes are {other}; {_READABLE} can be read")
    digits = text.translate(_STANDARD_ALPHABET, _WHITESPACE).rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except binascii.Error as error:
        message = f"{field}: {len(text)} bytes of text are neither a picture nor its base64: {error}"
        raise InvalidInput(message) from error


def _other_format(content: bytes) -> str | None:
    return next((name for name, begin in _OTHER_FORMATS.items() if re.match(begin, content[:64], re.DOTALL)), None)


def _decode_whole_or_cut(content: bytes, field: str, max_pixels: int) -> np.ndarray:
    """Decode a file; a JPEG may lack its end marker and a little before it."""
    try:
        return _decode(content, field, max_pixels)
    except OSError:
        picture = decode_cut(content, lambda mended: _decode(mended, field, max_pixels))
        if picture is None:
            raise
        return picture


def _decode(content: bytes, field: str, max_pixels: int) -> np.ndarray:
    with _open(content, field) as image:
        if image.width * image.height > max_pixels:
            size = f"{image.width}×{image.height} pixels"
            raise TooLarge(f"{field}: {size} are above the maximum of {max_pixels} pixels")
        if image.mode in _THIRTY_TWO_BIT:
            raise InvalidInput(f"{field}: 32 bits a channel are above the maximum 16")
        return np.array(_as_rgb(ImageOps.exif_transpose(image)))


def _open(content: bytes, field: str) -> ImageFile.ImageFile:
    """Read only the header.

    ``Image.open`` would too, but applies Pillow's global size limit before we can report the size.
    """
    Image.init()
    for name in READABLE:
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(content[:16]) is True:
            return factory(io.BytesIO(content), "")
    if other := _other_format(content):
        raise InvalidInput(f"{field}: {len(content)} bytes are {other}; {_READABLE} can be read")
    raise InvalidInput(f"{field}: {len(content)} bytes are not a picture ({_READABLE}) or its base64 text")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        image = _as_eight_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    pixels = image.convert("RGBA")
    white = Image.new("RGBA", pixels.size, "white")
    return Image.alpha_composite(white, pixels).convert("RGB")


def _as_eight_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255; 65535 / 257 is 255."""
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
