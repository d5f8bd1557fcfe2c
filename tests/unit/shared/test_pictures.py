"""Every kind of picture that a request may bring, as a real file in memory."""

import base64
import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
from PIL import Image, ImageFile

from insta_depth_shared.errors import InvalidInput, TooLarge
from insta_depth_shared.pictures import PictureLimits, decode_picture, encode_picture, resize_for_model

LIMITS = PictureLimits(max_bytes=1 << 20, max_pixels=1_000_000)


def as_file(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    planes = [rows * 255 / (height - 1), columns * 255 / (width - 1), (rows + columns) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def decode(data: bytes) -> np.ndarray:
    return decode_picture(data, "face_image", LIMITS)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP", "JPEG"])
def test_each_format_decodes_to_rgb(file_format: str) -> None:
    lossless: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    decoded = decode(as_file(Image.fromarray(gradient()), file_format, **lossless.get(file_format, {})))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (40, 60, 3)
    assert np.abs(decoded.astype(int) - gradient()).max() <= (3 if file_format == "JPEG" else 0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: b"data:image/png;base64," + text,
        lambda text: b"\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)) + b"\r\n",
        lambda text: text.rstrip(b"="),
        lambda text: text.replace(b"+", b"-").replace(b"/", b"_"),
        lambda text: text.replace(b"+", b"-").replace(b"/", b"_").rstrip(b"="),
        lambda text: b" data:image/png;name=a%20b.png;charset=utf-8;BASE64," + text.rstrip(b"="),
        lambda text: b"data:;base64," + text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D"),
        lambda text: b"data:image/png," + quote_from_bytes(base64.b64decode(text)).encode(),
        lambda text: b"\xef\xbb\xbf" + text,
    ],
    ids=[
        "plain",
        "data URI",
        "lines",
        "no padding",
        "URL-safe",
        "URL-safe, no padding",
        "parameters",
        "escaped",
        "not base64",
        "byte-order mark",
    ],
)
def test_base64_text_is_the_same_as_the_bytes(wrap) -> None:  # type: ignore[no-untyped-def]
    file = as_file(Image.fromarray(gradient()), "PNG")
    np.testing.assert_array_equal(decode(wrap(base64.b64encode(file))), gradient())


@pytest.mark.parametrize(
    ("begin", "name"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avif", "AVIF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"%PDF-1.7\n\xff\xff", "PDF"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "HTML"),
        (b'<?xml version="1.0"?><svg></svg>', "SVG"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
    ],
)
@pytest.mark.parametrize("encode", [bytes, base64.b64encode], ids=["bytes", "base64"])
def test_a_format_that_is_not_read_is_named(begin: bytes, name: str, encode: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidInput, match=rf"face_image: 200 bytes are {name}; JPEG, PNG, .* can be read$"):
        decode(encode(begin.ljust(200, b"\n")))


def test_the_first_picture_of_a_phones_file_is_taken() -> None:
    second = Image.new("RGB", (60, 40), "blue")
    file = as_file(Image.fromarray(gradient()), "MPO", save_all=True, append_images=[second], quality=100)
    assert np.abs(decode(file).astype(int) - gradient()).max() <= 40
    assert decode(file)[0, 0, 2] < 60


JPEG_KINDS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"subsampling": 0},
    {"restart_marker_blocks": 3},
    {"restart_marker_rows": 1, "progressive": True},
]


def photograph(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 60, (200, 240, 3), dtype=np.uint8)
    return Image.fromarray(gradient(200, 240) // 2 + noise).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", JPEG_KINDS, ids=str)
@pytest.mark.parametrize("missing", [1, 2, 4])
def test_a_jpeg_without_its_last_bytes_is_taken(mode: str, options: dict[str, Any], missing: int) -> None:
    file = as_file(photograph(mode), "JPEG", quality=90, **options)
    whole, cut = decode(file), decode(file[:-missing])
    assert (whole != cut).any(axis=-1).mean() <= (0 if missing < 3 else 0.02)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", JPEG_KINDS, ids=str)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_a_jpeg_of_which_a_part_is_missing_is_refused(mode: str, options: dict[str, Any], share: float) -> None:
    file = as_file(photograph(mode), "JPEG", quality=90, **options)
    with pytest.raises(InvalidInput, match="damaged picture"):
        decode(file[: round(len(file) * (1 - share))])


def test_a_jpeg_is_refused_wherever_it_ends_between_two_scans() -> None:
    """Then nothing of a scan is torn, and only the fine parts of the picture are missing."""
    file = as_file(photograph(), "JPEG", progressive=True)
    for begin in [match.start() for match in re.finditer(rb"\xff\xda", file)][1:]:
        with pytest.raises(InvalidInput, match="damaged picture"):
            decode(file[:begin])


@pytest.mark.parametrize("file_format", ["GIF", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken(file_format: str) -> None:
    frames = [Image.new("RGB", (20, 10), color) for color in ("red", "blue")]
    file = as_file(frames[0], file_format, save_all=True, append_images=frames[1:])
    decoded = decode(file)
    assert decoded.shape == (10, 20, 3)
    assert decoded[..., 0].min() > 240
    assert decoded[..., 1:].max() < 15


def test_cmyk_becomes_rgb() -> None:
    decoded = decode(as_file(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(decoded.astype(int) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(file_format: str) -> None:
    values = np.linspace(0, 65535, 256 * 4).round().astype(np.uint16).reshape(4, 256)
    decoded = decode(as_file(Image.fromarray(values), file_format))
    np.testing.assert_array_equal(decoded[..., 0], np.round(values / 257).astype(np.uint8))
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])


def test_sixteen_bit_colour_is_scaled() -> None:
    decoded = decode(png_of_sixteen_bit_colour(2, 3, (65535, 32896, 0)))
    np.testing.assert_array_equal(decoded, np.broadcast_to([255, 128, 0], (2, 3, 3)))


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(InvalidInput, match="face_image: 32 bits a channel are above the maximum 16"):
        decode(as_file(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_palette_grey_and_black_and_white_become_rgb(mode: str) -> None:
    picture = Image.fromarray(gradient()).convert(mode)
    np.testing.assert_array_equal(decode(as_file(picture, "PNG")), np.asarray(picture.convert("RGB")))


def test_a_rotated_photograph_is_set_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(as_file(Image.fromarray(gradient()), "PNG", exif=exif))
    np.testing.assert_array_equal(decoded, np.rot90(gradient(), -1))


def test_damaged_exif_does_not_cost_the_picture() -> None:
    file = as_file(Image.fromarray(gradient()), "JPEG", exif=b"Exif\0\0not a header at all")
    assert decode(file).shape == (40, 60, 3)


def test_transparency_shows_white() -> None:
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.putpixel((0, 0), (255, 0, 0, 255))
    picture.putpixel((1, 0), (255, 0, 0, 128))
    decoded = decode(as_file(picture, "PNG"))
    assert decoded[0, 0].tolist() == [255, 0, 0]
    assert decoded[0, 1].tolist() == [255, 127, 127]
    assert decoded[7, 7].tolist() == [255, 255, 255]


def test_a_transparent_palette_colour_shows_white() -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.putpixel((0, 0), 1)
    decoded = decode(as_file(picture, "PNG", transparency=0))
    assert decoded[0, 0].tolist() == [10, 20, 30]
    assert decoded[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF", "JPEG", "WEBP", "TIFF"])
def test_one_pixel_is_a_picture(file_format: str) -> None:
    assert decode(as_file(Image.new("RGB", (1, 1)), file_format)).tolist() == [[[0, 0, 0]]]


def test_nothing_is_named_as_empty() -> None:
    with pytest.raises(InvalidInput, match=r"^\[INVALID_INPUT\] face_image: is empty"):
        decode(b"")


@pytest.mark.parametrize(
    "data", [b"\0\1\2\3" * 40, b"%PDF-1.7\0\xff", b"\x89PNG\r\n\x1a\n"], ids=["zeros", "pdf", "stub"]
)
def test_what_is_no_picture_is_named(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=f"^.INVALID_INPUT. face_image: {len(data)} bytes are"):
        decode(data)


@pytest.mark.parametrize(
    "text",
    [
        b"hello, world",
        b"data:image/png;base64,abcde",
        b"https://example.com/a.png",
        b"iVBORw0KGgoAA",
        b"iVBORw0KGgo!AAAA=",
    ],
)
def test_text_that_is_no_base64_is_named(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="bytes of text are neither a picture nor its base64"):
        decode(text)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_named(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = as_file(Image.fromarray(noise), file_format)
    with pytest.raises(InvalidInput, match=r"face_image: \d+ bytes are a damaged picture"):
        decode(file[: len(file) // 2])


def test_bytes_are_counted_after_base64() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = as_file(Image.fromarray(noise), "PNG")
    text = base64.b64encode(file)
    assert decode_picture(text, "face_image", PictureLimits(len(file), 10_000)).shape == (64, 64, 3)
    expected = rf"^\[TOO_LARGE\] pose_image: {len(file)} bytes are above the maximum {len(file) - 1}$"
    with pytest.raises(TooLarge, match=expected):
        decode_picture(text, "pose_image", PictureLimits(len(file) - 1, 10_000))


def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("pixels were decoded"))
    with pytest.raises(TooLarge, match="face_image: 30000×30000 pixels are above the maximum of 1000000 pixels"):
        decode(png_bomb(30_000, 30_000))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_each_format_is_measured_before_it_is_decoded(file_format: str) -> None:
    file = as_file(Image.new("RGB", (40, 30)), file_format)
    with pytest.raises(TooLarge, match=r"pose_image: 40×30 pixels are above the maximum of 1199 pixels"):
        decode_picture(file, "pose_image", PictureLimits(1 << 20, max_pixels=1199))


def test_what_pillow_itself_refuses_is_too_large() -> None:
    """It reads the size of a WebP before we can. Older versions only find this stub of a file damaged."""
    canvas = struct.pack("<I", 16_382)[:3] * 2
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    file = b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
    with pytest.raises(InvalidInput, match=r"face_image: .*(268402689 pixels.* maximum is 1000000 pixels|damaged)"):
        decode(file)


@pytest.mark.parametrize("pillow_limit", [None, 100])
def test_pillows_global_limit_changes_nothing(monkeypatch: pytest.MonkeyPatch, pillow_limit: int | None) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    assert decode(as_file(Image.fromarray(gradient()), "PNG")).shape == (40, 60, 3)
    with pytest.raises(TooLarge, match="30000×30000"):
        decode(png_bomb(30_000, 30_000))


@pytest.mark.parametrize(
    ("size", "at_1280", "at_1024", "at_640"),
    [
        ((1000, 1000), (1280, 1280), (1024, 1024), (640, 640)),
        ((16, 16), (1280, 1280), (1024, 1024), (640, 640)),
        ((340, 420), (1024, 1280), (768, 1024), (512, 640)),
        ((1000, 1080), (1152, 1280), (896, 1024), (576, 640)),
        ((1080, 1000), (1280, 1152), (1024, 896), (640, 576)),
        ((4032, 3024), (1280, 960), (1024, 768), (640, 448)),
        ((4000, 6000), (832, 1280), (640, 1024), (384, 640)),
        ((1920, 1080), (1280, 704), (1024, 576), (640, 320)),
        ((4000, 1000), (1280, 320), (1024, 256), (640, 128)),
        ((7, 23), (384, 1280), (256, 1024), (192, 640)),
        # Where whole sides of proportions decide: 1280 / 286 × 100 is 447.6, and 1280 / 202 × 111 is 703.4.
        ((100, 286), (384, 1280), (320, 1024), (192, 640)),
        ((111, 202), (704, 1280), (512, 1024), (320, 640)),
    ],
)
def test_sizes_are_those_of_the_published_function(
    size: tuple[int, int], at_1280: tuple[int, int], at_1024: tuple[int, int], at_640: tuple[int, int]
) -> None:
    """(width, height) in and out, as InstantID's `resize_img` gave them with ``min_side`` 1024."""
    for max_side, expected in ((1280, at_1280), (1024, at_1024), (640, at_640)):
        resized = resize_for_model(np.zeros((*size[::-1], 3), np.uint8), 1024, max_side, multiple=64)
        assert resized.shape == (*expected[::-1], 3)


@pytest.mark.parametrize(("size", "expected"), [((10_000, 1), (1280, 64)), ((1, 10_000), (64, 1280))])
def test_a_side_is_at_least_one_multiple(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resize_for_model(np.zeros((*size, 3), np.uint8), 1024, 1280, 64).shape == (*expected, 3)


@pytest.mark.parametrize(
    ("size", "max_side", "rounded", "floored"),
    [
        ((340, 420), 1280, (1036, 1280), (1024, 1280)),
        ((420, 340), 1024, (1024, 829), (1024, 768)),
        ((900, 900), 640, (640, 640), (640, 640)),
    ],
)
def test_pixels_are_resized_twice(
    size: tuple[int, int], max_side: int, rounded: tuple[int, int], floored: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    expected = Image.fromarray(noise).resize(rounded, Image.Resampling.BILINEAR)
    expected = expected.resize(floored, Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize_for_model(noise, 1024, max_side, 64), np.asarray(expected))


def test_png_loses_nothing() -> None:
    np.testing.assert_array_equal(decode(encode_picture(gradient(), "png", 1)), gradient())


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_quality_trades_bytes_for_fidelity(output_format: str) -> None:
    low, high = (encode_picture(gradient(), output_format, quality) for quality in (10, 95))
    assert len(low) < len(high)
    errors = [np.abs(decode(file).astype(int) - gradient()).mean() for file in (low, high)]
    assert errors[1] < errors[0]
    assert Image.open(io.BytesIO(high)).format == output_format.upper()


def test_jpeg_keeps_colour_at_full_resolution() -> None:
    with Image.open(io.BytesIO(encode_picture(gradient(), "jpeg", 95))) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(header: bytes, rows: bytes) -> bytes:
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_bomb(width: int, height: int) -> bytes:
    return png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(bytes(1 << 16)))


def png_of_sixteen_bit_colour(height: int, width: int, colour: tuple[int, int, int]) -> bytes:
    row = b"\0" + struct.pack(">3H", *colour) * width
    return png(struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0), zlib.compress(row * height))
