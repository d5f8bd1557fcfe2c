"""What the gateway adds is found pair by pair, and both sides are asked the same."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from insta_depth import InstaDepth, Progress
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from benchmarks import gateway, stand_in
from benchmarks.gateway import Json, Multipart, Pair, Served
from benchmarks.options import Options

REQUEST = {"prompt": "a woman", "face_image": b"\xff\xd8 a\r\n--face", "pose_image": b"\xff\xd8 pose", "seed": 1}
OPTIONS = Options(Path(), Path(), Path(), repeats=3)


def test_what_is_added_is_the_middle_of_the_differences_not_the_difference_of_the_middles() -> None:
    found = gateway.summary([Pair(1, 10), Pair(20, 22), Pair(30, 33)])
    assert (found["added_median_ms"], found["pairs"]) == (3, 3)
    assert (found["added_lower_quarter_ms"], found["added_upper_quarter_ms"]) == (2.5, 6)
    assert (found["direct_median_ms"], found["gateway_median_ms"]) == (20, 22)


def test_base64_is_not_counted_as_the_gateways() -> None:
    found = gateway.summary([Pair(10, 20, base64_ms=7)] * 3)
    assert (found["added_median_ms"], found["base64_ms"]) == (3, 7)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_sides_of_a_pair_keep_their_places_whichever_runs_first(
    monkeypatch: pytest.MonkeyPatch, swapped: bool
) -> None:
    ran: list[bytes] = []

    def length(side: gateway.Side) -> float:
        ran.append(side())
        return float(len(ran[-1]))

    monkeypatch.setattr(gateway, "timed_ms", length)
    assert gateway._pair((lambda: b"direct", lambda: b"gateway"), 0.5, swapped) == Pair(6, 7, 0.5)
    assert ran == ([b"gateway", b"direct"] if swapped else [b"direct", b"gateway"])


async def test_the_form_holds_every_attribute_and_the_files() -> None:
    way = Multipart(1, "key", REQUEST)

    async def chunks() -> AsyncIterator[bytes]:
        yield way.body()

    form = await MultiPartParser(Headers({"content-type": way.media_type}), chunks()).parse()  # type: ignore[arg-type]
    read = {name: await v.read() if isinstance(v, UploadFile) else v for name, v in form.items()}
    assert read == REQUEST | {"seed": "1", "base64": "false"}


def test_json_holds_every_attribute_and_the_pictures_in_base64() -> None:
    pictures = {name: b64encode(REQUEST[name]).decode() for name in ("face_image", "pose_image")}  # type: ignore[arg-type]
    assert json.loads(Json(1, "key", REQUEST).body()) == REQUEST | pictures


def test_json_is_read_and_its_base64_measured() -> None:
    way = Json(1, "key", REQUEST)
    assert way.image(b'{"image": "AQI="}') == b"\x01\x02"
    assert way.base64_ms(bytes(10**6)) > Multipart(1, "key", REQUEST).base64_ms(bytes(10**6)) == 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    callers: list[tuple[object, str, str]] = []  # noqa: RUF012
    status = 200

    def do_POST(self) -> None:
        self.callers.append((self.client_address, self.path, self.headers["x-api-key"]))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"picture")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def http_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(Handler, "callers", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_requests_share_a_connection_and_show_their_key(http_port: int) -> None:
    way = Multipart(http_port, "key", REQUEST)
    assert [way(), way()] == [b"picture", b"picture"]
    assert len(Handler.callers) == 2
    assert len(set(Handler.callers)) == 1
    assert Handler.callers[0][1:] == ("/v1/insta-depth", "key")


def test_an_answer_without_a_picture_is_no_measurement(http_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "status", 406)
    with pytest.raises(RuntimeError, match="answered 406: b'picture'"):
        Multipart(http_port, "key", REQUEST)()


def test_the_stand_in_answers_as_our_server_does() -> None:
    with stand_in.serving() as url, InstaDepth(url, 30) as client:
        assert client.status().ready
        *progress, generation = client.stream(**REQUEST)  # type: ignore[arg-type]
    assert progress == [Progress(step, 4) for step in range(1, 5)]
    assert generation.image == stand_in.picture(0)  # type: ignore[union-attr]
    assert len(generation.image) == pytest.approx(stand_in.PICTURE_BYTES, rel=0.1)  # type: ignore[union-attr]


@pytest.fixture
def without_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def no_gateway(triton_url: str, more: Any) -> Iterator[tuple[int, str]]:
        yield 1, "key"

    monkeypatch.setattr(gateway, "gateway", no_gateway)


@contextmanager
def served(options: Options) -> Iterator[Served]:
    server, url = stand_in.start()
    yield Served(url, REQUEST)
    server.stop(grace=None)


def way_to(picture: bytes) -> Any:
    return type("Way", (Multipart,), {"__call__": lambda self: picture})


@pytest.mark.usefixtures("without_gateway")
def test_there_are_as_many_pairs_as_asked_for() -> None:
    assert gateway.measure(OPTIONS, served, way_to(stand_in.picture(0)), 4)["pairs"] == 12


@pytest.mark.usefixtures("without_gateway")
def test_another_picture_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="picture"):
        gateway.measure(OPTIONS, served, way_to(stand_in.picture(1)), 4)
