"""Fetching a picture from a caller's https URL, without giving the caller access to our network (SSRF).

A name may resolve to another address on a second look-up, so the address is checked where the socket is created, for
every connection. Redirects are checked like the caller's URL.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from insta_depth_gateway.errors import BadRequest, BodyTooLarge, GatewayError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressInfo = tuple[int, int, int, str, tuple[object, ...]]

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)
_LONGEST_URL, _LONGEST_SHOWN = 2048, 100
_CHUNK_BYTES = 2**16
# A compressed response could be far larger than the bytes counted; pictures are compressed already.
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "insta-depth-gateway"}


@dataclass(frozen=True)
class FetchLimits:
    """Limits for one picture: bytes, total seconds including redirects, and number of redirects."""

    max_bytes: int
    timeout_s: float
    max_redirects: int = 3


def is_public(address: Address) -> bool:
    """Whether the address, and each IPv4 address embedded in it, is a public host's."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped:
        return is_public(address.ipv4_mapped)
    if not all(map(is_public, _embedded(address))):
        return False
    # Outside these two, is_global calls addresses public that are unusable or site-local (::7f00:1, fec0::1).
    return address.is_global and (address in _GLOBAL_UNICAST or address in _NAT64)


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses to which 6to4, Teredo and NAT64 would forward."""
    translated = [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)] if address in _NAT64 else []
    return [*translated, *([address.sixtofour] if address.sixtofour else []), *(address.teredo or ())]


class PictureFetcher:
    """Fetches pictures over https.

    Bound to the event loop in which it is first used. ``allowed`` decides which addresses may be connected to;
    ``port``, ``ssl_context`` and ``resolver`` are for tests.
    """

    def __init__(
        self,
        limits: FetchLimits,
        *,
        allowed: Callable[[Address], bool] = is_public,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 443,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._limits, self._allowed, self._port = limits, allowed, port
        self._ssl_context, self._resolver = ssl_context, resolver
        self._opened: aiohttp.ClientSession | None = None

    async def fetch(self, field: str, url: str) -> bytes:
        """Return the content of ``url``. Raises `BadRequest` or `BodyTooLarge`, whose message names ``field``."""
        target = _parse(field, url)
        try:
            return await asyncio.wait_for(self._follow(target), self._limits.timeout_s)
        except asyncio.TimeoutError:
            refused = _Refused(f"takes longer than {self._limits.timeout_s:g} s")
        except _Refused as error:
            refused = error
        except (aiohttp.ClientError, UnicodeError) as error:
            refused = _Refused(_reason(error))
        # Drop the cause: its text contains the addresses that the name resolves to.
        raise refused.kind(f"{field}: {_shown(target)} {refused.reason}") from None

    async def close(self) -> None:
        """Cancel the running fetches."""
        if self._opened is not None:
            await self._opened.close()

    async def _follow(self, url: URL) -> bytes:
        for _ in range(self._limits.max_redirects + 1):
            self._check(url)
            async with self._session().get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response)
                url = _redirected(url, response)
        raise _Refused(f"redirects more than {self._limits.max_redirects} times")

    def _check(self, url: URL) -> None:
        if url.scheme != "https":
            raise _Refused(f"is or leads to {url.scheme or 'no scheme'}, where only https is taken")
        if url.user is not None or url.password is not None:
            raise _Refused("has or leads to a URL with a user's name or password, which is not taken")
        if url.port != self._port:
            raise _Refused(f"is at or leads to a port other than {self._port}")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise _Refused(f"is answered with status {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Refused("is sent compressed, which is not taken")
        self._check_size(response.content_length or 0)
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            content += chunk
            self._check_size(len(content))
        return bytes(content)

    def _check_size(self, count: int) -> None:
        if count > self._limits.max_bytes:
            raise _Refused(f"is larger than {self._limits.max_bytes} bytes", BodyTooLarge)

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    socket_factory=self._make_socket,
                    ssl=self._ssl_context or True,
                    resolver=self._resolver,
                    force_close=True,
                ),
                headers=_HEADERS,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=False,
            )
        return self._opened

    def _make_socket(self, info: AddressInfo) -> socket.socket:
        """Create the socket for one connection; its address comes from the resolver or from the URL."""
        family, kind, protocol, _, address = info
        try:
            is_allowed = self._allowed(ipaddress.ip_address(str(address[0])))
        except ValueError:
            # Some versions of aiohttp pass on 127.1 and the like, which the system would accept as an address.
            is_allowed = False
        if not is_allowed:
            raise _AddressRefused("the address is refused")
        return socket.socket(family, kind, protocol)


class _Refused(Exception):
    """Why there is no picture, in words that follow the URL."""

    def __init__(self, reason: str, kind: type[GatewayError] = BadRequest) -> None:
        super().__init__(reason)
        self.reason, self.kind = reason, kind


class _AddressRefused(OSError):
    """The address is not allowed. An OSError, so that aiohttp tries the name's next address."""


def _parse(field: str, url: str) -> URL:
    if len(url) > _LONGEST_URL:
        raise BadRequest(f"{field}: the URL has more than {_LONGEST_URL} characters")
    try:
        parsed = URL(url)
        if not url.isprintable() or " " in url or not parsed.scheme or (parsed.scheme == "https" and not parsed.host):
            raise ValueError
        _ = parsed.port
    except ValueError:
        raise BadRequest(f"{field}: is not a URL that can be fetched") from None
    return parsed


def _redirected(url: URL, response: aiohttp.ClientResponse) -> URL:
    try:
        target = url.join(URL(response.headers["Location"]))
        if target.scheme == "https" and not target.host:
            raise ValueError
        return target
    except (KeyError, ValueError):
        raise _Refused("redirects to what is not a URL") from None


def _shown(url: URL) -> str:
    """The URL without credentials, query and fragment, which may be secret."""
    bare = str(url.with_user(None).with_query(None).with_fragment(None)) if url.host else f"{url.scheme}:"
    return bare if len(bare) <= _LONGEST_SHOWN else f"{bare[:_LONGEST_SHOWN]}…"


def _reason(error: aiohttp.ClientError | UnicodeError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "has a certificate that is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _AddressRefused):
        return "is or leads to a host whose address is not public"
    if isinstance(error, (aiohttp.ClientConnectorDNSError, UnicodeError)):
        return "is or leads to a host whose name is not known"
    if isinstance(error, aiohttp.InvalidURL):
        return "is or leads to what is not a URL"
    if isinstance(error, aiohttp.ClientConnectionError):
        return "or what it leads to cannot be reached"
    return "is answered with something that cannot be read"
