"""Reading a request's body off the wire: JSON or a multipart form, within limits."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from insta_depth_gateway.body import (
    MOST_FACES,
    PICTURES,
    SEVERAL,
    FormValue,
    GenerationBody,
    from_form,
    from_json,
)
from insta_depth_gateway.errors import BadRequest, BodyTooLarge, BodyTooSlow, Busy

JSON, FORM = "application/json", "multipart/form-data"

_BIG_BYTES = 2**20
"""Larger bodies are parsed in a thread, so that no other request waits."""


@dataclass
class BodyReader:
    """``max_buffered_bytes``: of all bodies in memory; each counts until its request is done."""

    max_body_bytes: int
    max_buffered_bytes: int
    timeout_s: float
    buffered_bytes: int = field(default=0, init=False)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[GenerationBody]:
        """Yield the request's body. Raises `BadRequest`, `BodyTooLarge`, `Busy`."""
        held = _Held(self)
        try:
            yield await self._in_time(self._parsed(request, held))
        finally:
            self.buffered_bytes -= held.bytes

    async def _parsed(self, request: Request, held: "_Held") -> GenerationBody:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, FORM):
            raise BadRequest(f"Content-Type: {kind[:60]!r} is neither {JSON} nor {FORM}")
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise BadRequest(f"Content-Encoding: {coding[:60]!r} is not taken; send the body as it is")
        self._check_length(request)
        chunks = self._limited(request, held)
        if kind == FORM:
            return from_form(await _form_fields(request, chunks, self.max_body_bytes))
        content = b"".join([chunk async for chunk in chunks])
        return await asyncio.to_thread(from_json, content) if len(content) > _BIG_BYTES else from_json(content)

    async def _in_time(self, parsed: Coroutine[Any, Any, GenerationBody]) -> GenerationBody:
        try:
            return await asyncio.wait_for(parsed, self.timeout_s)
        except asyncio.TimeoutError:
            raise BodyTooSlow(f"body: did not arrive within {self.timeout_s:g} s") from None
        except ClientDisconnect:
            raise BadRequest("body: ended before its end") from None

    def _check_length(self, request: Request) -> None:
        """Reject a body that is too large by its header alone."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.max_body_bytes:
            raise self._too_large(int(length))

    async def _limited(self, request: Request, held: "_Held") -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            held.add(len(chunk))
            if held.bytes > self.max_body_bytes:
                raise self._too_large(held.bytes)
            if self.buffered_bytes > self.max_buffered_bytes:
                raise Busy(f"requests in flight hold more than {self.max_buffered_bytes} bytes; try again later")
            yield chunk

    def _too_large(self, length: int) -> BodyTooLarge:
        return BodyTooLarge(f"body: {length} bytes are above the maximum {self.max_body_bytes}")


class _Held:
    """The bytes of one request that its reader counts."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader
        self.bytes = 0

    def add(self, count: int) -> None:
        self.bytes += count
        self._reader.buffered_bytes += count


async def _form_fields(request: Request, chunks: AsyncGenerator[bytes, None], max_bytes: int) -> dict[str, FormValue]:
    parser = MultiPartParser(
        request.headers,
        chunks,
        max_files=len(PICTURES) + MOST_FACES,  # one more than may be, which validation refuses by name
        max_fields=len(GenerationBody.model_fields) + MOST_FACES,
        max_part_size=max_bytes,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"body: is not a multipart form: {error.message}") from None
    except (KeyError, ValueError, UnicodeError):
        raise BadRequest("body: is not a multipart form") from None
    try:
        return await _values(form)
    finally:
        await form.close()


async def _values(form: FormData) -> dict[str, FormValue]:
    found: dict[str, list[str | bytes]] = {}
    for name, value in form.multi_items():
        if name in found and name != SEVERAL:
            raise BadRequest(f"{name[:60]}: is there more than once")
        if isinstance(value, UploadFile) and name not in PICTURES:
            raise BadRequest(f"{name[:60]}: is a file; only {' and '.join(PICTURES)} may be")
        found.setdefault(name, []).append(await value.read() if isinstance(value, UploadFile) else value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
