"""What a file says of itself, read by other code than what wrote it, and that its pixels stay."""

import io
import re
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from insta_depth import __version__
from PIL import Image

from insta_depth_shared.marks import Mark, parameters_line
from insta_depth_shared.pictures import WRITABLE, encode_picture
from insta_depth_shared.version import VERSION

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
LINE = parameters_line({"Steps": 10, "Seed": 7, "Sampler": "ein Zeichen: ß"})
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"


def xmp_of(content: bytes) -> bytes:
    """Find the packet as the formats' specifications lay it down, without Pillow."""
    if content.startswith(b"\x89PNG"):
        (packet,) = (body.split(b"\0\0\0\0\0", 1)[1] for kind, body in chunks_of_png(content) if kind == b"iTXt")
        return packet
    if content.startswith(b"RIFF"):
        at = content.index(b"XMP ")
        return content[at + 8 : at + 8 + struct.unpack("<I", content[at + 4 : at + 8])[0]]
    at = content.index(b"http://ns.adobe.com/xap/1.0/\0")
    length = struct.unpack(">H", content[at - 2 : at])[0]
    assert content[at - 4 : at - 2] == b"\xff\xe1"
    return content[at + 29 : at - 2 + length]


def chunks_of_png(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0]
        found.append((kind, body))
        at += 12 + length
    return found


@pytest.mark.parametrize("mark", [Mark(), Mark(LINE)], ids=["provenance", "parameters"])
@pytest.mark.parametrize("output_format", WRITABLE)
def test_a_file_says_that_a_machine_made_it_and_which(output_format: str, mark: Mark) -> None:
    packet = xmp_of(encode_picture(IMAGE, output_format, 90, mark)).decode()
    (description,) = ET.fromstring(re.sub(r"<\?xpacket.*?\?>", "", packet).strip("\ufeff")).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    assert description.get(IPTC) == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert description.get(TOOL) == f"Insta Depth on Triton {__version__}"


@pytest.mark.parametrize("output_format", WRITABLE)
def test_marks_change_no_pixel_and_without_one_there_is_no_metadata(output_format: str) -> None:
    plain, *marked = (encode_picture(IMAGE, output_format, 90, mark) for mark in (None, Mark(), Mark(LINE)))
    pixels = [np.asarray(Image.open(io.BytesIO(content))) for content in (plain, *marked)]
    assert all(np.array_equal(each, pixels[0]) for each in pixels[1:])
    assert not Image.open(io.BytesIO(plain)).getexif()
    assert b"xmp" not in plain.lower()


@pytest.mark.parametrize("output_format", WRITABLE)
def test_the_parameters_are_where_other_tools_look(output_format: str) -> None:
    image = Image.open(io.BytesIO(encode_picture(IMAGE, output_format, 90, Mark(LINE))))
    if output_format == "png":
        assert image.info["parameters"] == LINE
        return
    comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be") == LINE
    assert LINE.endswith(f", Version: Insta Depth on Triton {__version__}")


def test_the_version_is_the_clients() -> None:
    assert __version__ == VERSION
