"""What the HTTP gateway adds: how long an answer through it takes, minus how long the client's direct one takes.

Both ask the same server for the same picture and take turns, so that whatever else happens on the machine hits both.
The gateway is a process as anyone starts it, with a key and its credits in SQLite; connections are kept.
"""

import base64
import http.client
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from insta_depth import InstaDepth
from PIL import Image

from deploy.local import ON_FREE_PORTS, LocalTriton

from . import stand_in
from .certificates import make_certificates
from .options import Options
from .python_server import free_port, python_server
from .records import Measured

Request = dict[str, Any]
"""Attributes of a request, pictures as bytes."""

_PATH = "/v1/insta-depth"
_PREFIX = "INSTA_DEPTH_GATEWAY_"
_CREDITS = Decimal(1_000_000)
_TIMEOUT_S = 600.0
_WARM_UP = 3
_BOUNDARY = "the-benchmark's-own-boundary"
_PICTURES = ("face_image", "pose_image")
_ATTRIBUTES: Request = {"prompt": "a woman", "num_inference_steps": stand_in.STEPS, "guidance_scale": 1.0, "seed": 1}


@dataclass(frozen=True)
class Served:
    """A server, and what it is asked for."""

    triton_url: str
    request: Request


@dataclass(frozen=True)
class Pair:
    """Milliseconds of two requests for the same picture, and of the base64 that one of them needs."""

    direct_ms: float
    gateway_ms: float
    base64_ms: float = 0.0


Side = Callable[[], bytes]
Server = Callable[[Options], AbstractContextManager[Served]]


def measure(
    options: Options,
    server: Server,
    way: type["Multipart"] | type["Json"],
    pairs_per_repeat: int,
    is_signed: bool = False,
) -> Measured:
    """Compare the two sides, after some requests to warm up; ``is_signed``: the gateway signs its pictures."""
    with (
        server(options) as served,
        _signing(is_signed) as signing,
        gateway(served.triton_url, signing) as (port, key),
        InstaDepth(served.triton_url, _TIMEOUT_S) as client,
    ):
        through = way(port, key, served.request)
        sides: tuple[Side, Side] = (lambda: client.generate(**served.request).image, through)
        for _ in range(_WARM_UP):
            image, same = (side() for side in sides)
        if is_signed == (image == same) or not _same_pixels(image, same):
            raise ValueError("the gateway's picture is not the client's")
        count = options.repeats * pairs_per_repeat
        pairs = [_pair(sides, through.base64_ms(image), swapped=bool(index % 2)) for index in range(count)]
    return summary(pairs) | {"picture_kb": len(image) / 1000}


def _pair(sides: tuple[Side, Side], base64_ms: float, swapped: bool) -> Pair:
    order = reversed(range(2)) if swapped else range(2)
    took_ms = {index: timed_ms(sides[index]) for index in order}
    return Pair(took_ms[0], took_ms[1], base64_ms)


def timed_ms(call: Callable[[], object]) -> float:
    """How many milliseconds ``call`` takes."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def summary(pairs: Sequence[Pair]) -> Measured:
    """The middle of the pairs' differences, less base64, and the quarters beside it as a measure of noise."""
    added_ms = [pair.gateway_ms - pair.direct_ms - pair.base64_ms for pair in pairs]
    lower, middle, upper = quantiles(added_ms, n=4, method="inclusive")
    return {
        "added_median_ms": middle,
        "added_lower_quarter_ms": lower,
        "added_upper_quarter_ms": upper,
        "base64_ms": median(pair.base64_ms for pair in pairs),
        "direct_median_ms": median(pair.direct_ms for pair in pairs),
        "gateway_median_ms": median(pair.gateway_ms for pair in pairs),
        "pairs": len(pairs),
    }


# Servers


@contextmanager
def triton(options: Options) -> Iterator[Served]:
    """Triton with the repository, few steps and no guidance: the shortest request that there is."""
    with LocalTriton(options.repository, ON_FREE_PORTS) as server:
        yield Served(server.grpc_url, _ATTRIBUTES | {"face_image": options.face, "pose_image": options.pose})


@contextmanager
def answering_at_once(options: Options) -> Iterator[Served]:
    """The stand-in, with pictures of a usual size."""
    with stand_in.serving() as url:
        yield Served(url, _ATTRIBUTES | {"face_image": stand_in.picture(1), "pose_image": stand_in.picture(2)})


# The gateway


@contextmanager
def _signing(is_signed: bool) -> Iterator[dict[str, str]]:
    """Yield the settings of a gateway that signs, with a certificate of its own; none where it does not."""
    if not is_signed:
        yield {}
        return
    certificates = make_certificates()
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder) / "certificate.pem", Path(folder) / "key.pem"
        certificate.write_bytes(certificates.chain)
        key.write_bytes(certificates.key)
        yield {"C2PA_CERTIFICATE": str(certificate), "C2PA_KEY": str(key)}


def _same_pixels(first: bytes, second: bytes) -> bool:
    a, b = (np.asarray(Image.open(io.BytesIO(content))) for content in (first, second))
    return np.array_equal(a, b)


@contextmanager
def gateway(triton_url: str, more: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the port of a gateway in front of ``triton_url``, and a key's secret.

    It has its defaults and ``more`` settings, whatever this process's environment has.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        database_url = f"sqlite:///{Path(folder) / 'accounts.db'}"
        key = _make_key(database_url)
        own = {"PORT": str(port), "TRITON_URL": triton_url, "DATABASE_URL": database_url, **more}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
        environment = inherited | {_PREFIX + name: value for name, value in own.items()}
        with python_server(["-m", "insta_depth", "gateway"], port, "/readyz", environment):
            yield port, key


def _make_key(database_url: str) -> str:
    from insta_depth_gateway.accounts import Ledger, connect, migrate

    engine = connect(database_url)
    migrate(engine)
    _, secret = Ledger(engine).create_key("benchmark", _CREDITS)
    engine.dispose()
    return secret


# Ways of asking it


class Multipart:
    """Asks with the picture files in a form, and is answered with the file."""

    media_type = f"multipart/form-data; boundary={_BOUNDARY}"

    def __init__(self, port: int, key: str, request: Request) -> None:
        self.request = request
        self._headers = {"x-api-key": key, "Content-Type": self.media_type}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)

    def __call__(self) -> bytes:
        """Return the picture."""
        self._connection.request("POST", _PATH, self.body(), self._headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"the gateway answered {response.status}: {content[:200]!r}")
        return self.image(content)

    def body(self) -> bytes:
        """Return the form."""
        fields = self.request | {"base64": "false"}
        parts = [part for name, value in fields.items() for part in self._part(name, value)]
        return b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])

    def _part(self, name: str, value: Any) -> tuple[bytes, bytes, bytes]:
        file = f'; filename="{name}"' if name in _PICTURES else ""
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        return head.encode(), value if isinstance(value, bytes) else str(value).encode(), b"\r\n"

    def image(self, content: bytes) -> bytes:
        """Return the picture in an answer."""
        return content

    def base64_ms(self, image: bytes) -> float:
        """There is none."""
        return 0.0


class Json(Multipart):
    """Asks with pictures in base64 in JSON, and is answered so."""

    media_type = "application/json"

    def body(self) -> bytes:
        """Return the JSON object."""
        pictures = {name: base64.b64encode(self.request[name]).decode() for name in _PICTURES}
        return json.dumps(self.request | pictures).encode()

    def image(self, content: bytes) -> bytes:
        """Return the picture in an answer."""
        return base64.b64decode(json.loads(content)["image"])

    def base64_ms(self, image: bytes) -> float:
        """Measure what base64 and its JSON cost by themselves: caller and gateway write and read once each.

        Reading the pictures out of the request's base64 is left out: that is the server's work.
        """

        def both_ways() -> None:
            json.loads(self.body())
            self.image(json.dumps({"image": base64.b64encode(image).decode()}).encode())

        return timed_ms(both_ways)
