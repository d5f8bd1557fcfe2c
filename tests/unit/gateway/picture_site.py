"""A https server on this machine, for fetching from; a path says how it behaves."""

import asyncio
import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

PICTURE = b"\xff\xd8\xff a picture"
LARGE = 5000
NAME = "pictures.test"


@dataclass
class PictureSite:
    """Where the server is, and what it has been asked for."""

    port: int
    trust: ssl.SSLContext
    requests: list[web.Request] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def url(self, path: str = "/picture.jpg", host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.requests.append(request)
        self.addresses.append(request.transport.get_extra_info("sockname")[0])
        match request.path.strip("/").split("/"):
            case ["to"]:
                return web.Response(status=302, headers={"Location": request.query["url"]})
            case ["again", count]:
                raise web.HTTPFound(f"/again/{int(count) - 1}" if int(count) > 1 else "/picture.jpg")
            case ["status", status]:
                return web.Response(status=int(status), body=PICTURE)
            case ["large"]:
                return web.Response(body=bytes(LARGE))
            case ["stream"]:
                return await _stream(request)
            case ["slow"]:
                await asyncio.sleep(5)
            case ["drip"]:
                return await _drip(request)
            case ["bomb"]:
                return web.Response(body=gzip.compress(bytes(10**6)), headers={"Content-Encoding": "gzip"})
            case ["cut"]:
                return await _cut(request)
            case ["nowhere"]:
                return web.Response(status=302)
        return web.Response(body=PICTURE, headers={"Set-Cookie": "a=b"})


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for _ in range(50):
        await response.write(bytes(LARGE // 50))
    return response


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "200"})
    await response.prepare(request)
    for _ in range(200):
        await response.write(b".")
        await asyncio.sleep(0.02)
    return response


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "200"})
    await response.prepare(request)
    await response.write(b"half of it")
    assert request.transport is not None
    request.transport.close()
    return response


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for this machine's names, signed by itself, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = f"subjectAltName=IP:127.0.0.1,IP:127.0.0.2,IP:::1,DNS:localhost,DNS:{NAME}"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    paths = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", *kind, "-subj", "/CN=test", "-addext", names, *paths]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@asynccontextmanager
async def serving(certificate: Path, key: Path) -> AsyncIterator[PictureSite]:
    """Serve on every IPv4 address of this machine."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    site = PictureSite(0, ssl.create_default_context(cafile=str(certificate)))
    application = web.Application()
    application.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0, ssl_context=context).start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()
