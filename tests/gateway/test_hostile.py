"""Bodies and pictures that are wrong on purpose: each gets a clear error, costs nothing and breaks nothing."""

import base64
import contextlib
import io
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from PIL import Image

from tests.gateway.live import LiveGateway, account_of, make_key

PATH = "/v1/insta-depth"
JSON = "application/json"


@pytest.fixture(scope="module")
def secret(gateway: LiveGateway) -> str:
    return make_key(gateway.database_url, "hostile")


@pytest.fixture(autouse=True)
def _nothing_is_lost(gateway: LiveGateway, secret: str):
    yield
    assert requests.get(f"{gateway.url}/readyz").status_code == 200
    after = account_of(gateway.database_url, "hostile")
    assert (after.balance, after.held, after.spent) == (1000, 0, 0)


def refused(answer: requests.Response, *statuses: int) -> dict[str, str]:
    """See that the answer is one of our errors; return its body."""
    assert answer.status_code in statuses, answer.text[:300]
    assert set(answer.json()) == {"error", "code"}
    assert len(answer.content) < 1000
    return answer.json()


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


RAW = {
    "nothing": b"",
    "spaces": b"   ",
    "not JSON": b"prompt=a woman",
    "half an object": b'{"prompt": "a',
    "a list": b"[]",
    "a number": b"1e999",
    "null": b"null",
    "a string": b'"prompt"',
    "two objects": b"{}{}",
    "not UTF-8": b'{"prompt": "\xff\xfe"}',
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "zero bytes": bytes(1000),
    "nested a thousand deep": nested(1000),
    "nested a million deep": nested(1_000_000),
    "a lone surrogate": b'{"prompt": "\\ud800", "face_image": "a", "pose_image": "b"}',
    "a huge number": b'{"prompt": "a", "face_image": "a", "pose_image": "b", "seed": ' + b"9" * 10_000 + b"}",
    "a million keys": b"{" + b",".join(b'"%d": 1' % number for number in range(1_000_000)) + b"}",
}


@pytest.mark.parametrize("content", RAW.values(), ids=RAW.keys())
def test_a_body_that_is_no_request(gateway, secret, content):
    headers = {"x-api-key": secret, "Content-Type": JSON}
    refused(requests.post(gateway.url + PATH, data=content, headers=headers), 400)


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "steps as text": ({"num_inference_steps": "10"}, "num_inference_steps: '10' is not a whole number"),
    "steps with a fraction": ({"num_inference_steps": 10.5}, "num_inference_steps: 10.5 is not a whole number"),
    "steps true": ({"num_inference_steps": True}, "num_inference_steps: True is not a whole number"),
    "steps below": ({"num_inference_steps": 3}, "num_inference_steps: 3 is below the minimum 4"),
    "guidance NaN": ({"guidance_scale": float("nan")}, "guidance_scale: nan is not a finite number"),
    "guidance infinite": ({"guidance_scale": float("inf")}, "guidance_scale: "),
    "guidance above": ({"guidance_scale": 15.01}, "guidance_scale: 15.01 is above the maximum 15"),
    "seed below": ({"seed": -2}, "seed: -2 is below the minimum -1"),
    "seed above": ({"seed": 10**15}, "seed: 1000000000000000 is above the maximum 999999999999999"),
    "seed beyond 64 bits": ({"seed": 10**30}, "seed: "),
    "base64 as text": ({"base64": "yes"}, "base64: 'yes' is neither true nor false"),
    "base64 two": ({"base64": 2}, "base64: 2 is neither true nor false"),
    "prompt missing": ({"prompt": None}, "prompt: is required and missing"),
    "prompt empty": ({"prompt": ""}, "prompt: is empty"),
    "prompt a list": ({"prompt": ["a"]}, "prompt: ['a'] is not text"),
    "an unknown field": ({"guidence_scale": 3}, "guidence_scale: is not an attribute of this API"),
    "an unknown scheduler": ({"scheduler": "ddpm++"}, "scheduler: 'ddpm++' is none of euler"),
    "a scale above": ({"depth_scale": 2.5}, "depth_scale: 2.5 is above the maximum 2"),
}


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
@pytest.mark.parametrize(("change", "said"), FIELDS.values(), ids=FIELDS.keys())
def test_a_field_that_is_wrong(gateway, secret, body, path, change, said):
    content = json.dumps(body | change)  # writes NaN, which requests refuses to
    headers = {"x-api-key": secret, "Content-Type": JSON}
    answer = refused(requests.post(gateway.url + path, data=content, headers=headers), 400)
    assert answer["error"].startswith(said)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def png(width: int, height: int, data: bytes) -> bytes:
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        for kind, content in chunks
    )


def bomb() -> bytes:
    """A valid PNG of 30000 × 30000 black pixels in 110 KB."""
    return png(30000, 30000, zlib.compress(bytes(1 + 30000 // 8) * 30000, 1))


def grey(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), 128).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES: dict[str, tuple[Callable[[], str], int]] = {
    "not base64": (lambda: "!!!", 400),
    "base64 of nothing": (lambda: "=", 400),
    "base64 of text": (lambda: encoded(b"hello"), 400),
    "a data URI without data": (lambda: "data:image/png;base64,", 400),
    "a data URI of text": (lambda: "data:text/plain,hello", 400),
    "an SVG": (lambda: encoded(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), 400),
    "a PDF": (lambda: encoded(b"%PDF-1.7 \x00\xff"), 400),
    "a ZIP": (lambda: encoded(b"PK\x03\x04" + bytes(100)), 400),
    "a PNG's first half": (lambda: encoded(bomb()[:100]), 413),
    "a PNG with garbage in it": (lambda: encoded(png(100, 100, b"garbage")), 400),
    "a PNG of no size": (lambda: encoded(png(0, 0, b"")), 400),
    "a JPEG's mark and no more": (lambda: encoded(b"\xff\xd8\xff"), 400),
    "a bomb": (lambda: encoded(bomb()), 413),
    "17 MiB": (lambda: encoded(b"\xff\xd8\xff" + bytes(17 * 2**20)), 413),
    "one pixel": (lambda: encoded(grey(1, 1)), 422),
    "a plain surface": (lambda: encoded(grey(300, 300)), 422),
    "a file's path": (lambda: "/etc/passwd", 400),
    "a file's URL": (lambda: "file:///etc/passwd", 400),
    "a URL": (lambda: "http://169.254.169.254/latest/meta-data", 400),
    "a URL with spaces before it": (lambda: "   HTTPS://example.com/a.png", 400),
}


@pytest.mark.parametrize(("picture", "status"), PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_that_is_none(gateway, secret, body, picture, status):
    for field in ("face_image", "pose_image"):
        answer = requests.post(gateway.url + PATH, json=body | {field: picture()}, headers={"x-api-key": secret})
        assert refused(answer, status)["error"].startswith(f"{field}: ")


@pytest.mark.parametrize(("field", "status"), [("face_image", 422), ("pose_image", 400)])
def test_a_line_shows_no_face_and_is_too_thin_for_a_pose(gateway, secret, body, field, status):
    line = {field: encoded(grey(4000, 1))}
    answer = requests.post(gateway.url + PATH, json=body | line, headers={"x-api-key": secret})
    assert refused(answer, status)["error"].startswith(f"{field}: ")


FORMS: dict[str, tuple[str, bytes]] = {
    "no boundary": ("multipart/form-data", b"--x\r\n\r\n--x--"),
    "another boundary": ("multipart/form-data; boundary=y", b"--x\r\n\r\n--x--"),
    "no end": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na'),
    "no name": ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"),
    "nothing": ("multipart/form-data; boundary=x", b""),
    "url-encoded": ("application/x-www-form-urlencoded", b"prompt=a"),
    "text": ("text/plain", b"{}"),
    "no type": ("", b"{}"),
    "a type of 8 KB": ("a" * 8000, b"{}"),
}


@pytest.mark.parametrize(("kind", "content"), FORMS.values(), ids=FORMS.keys())
def test_a_form_that_is_none(gateway, secret, kind, content):
    headers = {"x-api-key": secret, "Content-Type": kind}
    refused(requests.post(gateway.url + PATH, data=content, headers=headers), 400)


def form(gateway: LiveGateway, secret: str, parts: list[tuple[str, Any]]) -> requests.Response:
    return requests.post(gateway.url + PATH, files=parts, headers={"x-api-key": secret})


def test_a_field_that_is_there_twice(gateway, secret):
    answer = refused(form(gateway, secret, [("prompt", (None, "a")), ("prompt", (None, "b"))]), 400)
    assert answer["error"] == "prompt: is there more than once"


def test_a_file_where_text_belongs(gateway, secret):
    assert refused(form(gateway, secret, [("prompt", ("a.txt", b"a"))]), 400)["error"].startswith("prompt: is a file")


def test_a_hundred_files(gateway, secret):
    refused(form(gateway, secret, [(f"file{number}", (f"{number}", b"a")) for number in range(100)]), 400)


@pytest.mark.parametrize("key", ["known", "unknown"])
def test_a_body_that_never_ends_is_cut_off(gateway, secret, key):
    with connected(gateway, secret if key == "known" else "idk_unknown", "Transfer-Encoding: chunked") as connection:
        chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
        with pytest.raises(ConnectionError):
            connection.sendall(chunk * 1000)


def test_a_client_that_waits_for_leave_is_refused_before_it_sends(gateway):
    with connected(gateway, "idk_unknown", "Expect: 100-continue\r\nContent-Length: 1000000") as connection:
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answer.lower()


def test_a_body_shorter_than_it_says(gateway, secret):
    with connected(gateway, secret, "Content-Length: 1000") as connection:
        connection.sendall(b"{")


@contextlib.contextmanager
def connected(gateway: LiveGateway, secret: str, header: str) -> Iterator[socket.socket]:
    """A connection on which a request's head was sent."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nx-api-key: {secret}\r\nContent-Type: {JSON}\r\n{header}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(head.encode())
        yield connection


@pytest.mark.parametrize(
    "content",
    [b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000],
)
def test_what_is_not_http(gateway, content):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(100)
