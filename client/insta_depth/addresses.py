"""Whether a gRPC address is on this machine or goes through a proxy from the environment.

gRPC takes a proxy from the environment for every address, loopback included, unless ``no_proxy`` lists it.
"""

import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

MESSAGE_BYTES_MAX = 64 * 2**20
"""Maximum size of one gRPC message, in either direction."""

ChannelOptions = tuple[tuple[str, int | str], ...]

_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""In the order in which gRPC reads them; it ignores upper-case names and ``all_proxy``."""
_BYPASS_VARIABLES = ("no_grpc_proxy", "no_proxy")

_LOCAL_NAMES = re.compile(r"(.+\.)?localhost|localhost\.localdomain|ip6-localhost|ip6-loopback")
_SCHEME = re.compile(r"(?P<scheme>dns|ipv4|ipv6|unix|unix-abstract|vsock):(//[^/]*/)?(?P<rest>.*)", re.DOTALL)


def channel_options(url: str) -> ChannelOptions:
    """Return the options of a gRPC channel to ``url``: large messages, and no proxy for this machine."""
    sizes: ChannelOptions = (
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    )
    return (*sizes, ("grpc.enable_http_proxy", 0)) if is_on_this_machine(url) else sizes


def is_on_this_machine(url: str) -> bool:
    """Whether every address in ``url``, in any of gRPC's notations, is loopback or a Unix socket."""
    scheme, targets = _split(url)
    return scheme in ("unix", "unix-abstract", "vsock") or all(map(_is_loopback, map(_host, targets.split(","))))


def proxy_in_the_way(url: str) -> str | None:
    """Describe, without credentials, the proxy through which gRPC reaches ``url``; None if there is none."""
    variable = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), None)
    if variable is None or is_on_this_machine(url):
        return None
    proxy, host = urlsplit(os.environ[variable]), _host(_split(url)[1])
    bypass = next((os.environ[name] for name in _BYPASS_VARIABLES if os.environ.get(name)), "")
    if proxy.scheme != "http" or any(host.lower().endswith(each) for each in bypass.lower().replace(",", " ").split()):
        return None
    address = proxy.netloc.rpartition("@")[2]
    return f"the way there leads through the proxy {address} of {variable}: no_proxy={host} goes past it"


@contextmanager
def without_proxies() -> Iterator[None]:
    """Hide the environment's proxies inside the block, for code that reads them but sends nothing.

    For example, httpx fails if a SOCKS proxy is set and its package is missing.
    """
    hidden = {name: text for name, text in os.environ.items() if re.fullmatch("(?i)(all|https?)_proxy", name)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _split(url: str) -> tuple[str, str]:
    match = _SCHEME.fullmatch(url)
    return (match["scheme"], unquote(match["rest"])) if match else ("dns", url)


def _host(target: str) -> str:
    """Return the host of ``host:port``, ``[host]:port`` or ``host``, which may be an IPv6 address without brackets."""
    target = target.strip()
    if target.startswith("["):
        return target[1:].partition("]")[0]
    return target.rpartition(":")[0] if target.count(":") == 1 else target


def _is_loopback(host: str) -> bool:
    name = host.lower().removesuffix(".")
    if _LOCAL_NAMES.fullmatch(name):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified  # a client that asks for "any address" gets its own machine
