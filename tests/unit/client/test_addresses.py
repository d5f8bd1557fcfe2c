"""No connection to this machine goes through a proxy; one to another machine that does says so."""

import socket
import threading
from collections.abc import Iterator

import pytest
from insta_depth import AsyncInstaDepth, Generation, InstaDepth, ServerUnavailable
from insta_depth.addresses import is_on_this_machine

from tests.unit.client.conftest import PICTURES
from tests.unit.client.triton_lookalike import TritonLookalike

ELSEWHERE = "triton.example:8001"


class RefusingProxy:
    """Notes what it is asked for and lets nothing through."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096).partition(b"\r\n")[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingProxy]:
    """Named by every variable that anything looks at; nothing is exempt from it."""
    running = RefusingProxy()
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://user:secret@{running.address}")
        monkeypatch.setenv(name.upper(), f"http://user:secret@{running.address}")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield running
    running.close()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "ipv4:127.0.0.1:{}", "dns:///localhost:{}"])
def test_this_machine_is_reached_past_a_proxy(server: TritonLookalike, proxy: RefusingProxy, form: str) -> None:
    with InstaDepth(form.format(server.url.rpartition(":")[2])) as client:
        assert isinstance(client.generate(prompt="x", **PICTURES), Generation)
    assert proxy.asked == []


async def test_so_it_is_by_asyncio(server: TritonLookalike, proxy: RefusingProxy) -> None:
    async with AsyncInstaDepth(server.url) as client:
        assert isinstance(await client.generate(prompt="x", **PICTURES), Generation)
    assert proxy.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "127.8.9.1:8001",
        "[::1]:8001",
        "::1",
        "ipv6:[::1]:8001",
        "ipv6:%5B::1%5D:8001",
        "[::ffff:127.0.0.1]:8001",
        "LOCALHOST.:8001",
        "a.localhost:8001",
        "0.0.0.0:8001",
        "ipv4:127.0.0.1:8001,127.0.0.2:8001",
        "unix:/run/triton.sock",
        "unix:///run/triton.sock",
        "unix-abstract:triton",
    ],
)
def test_every_notation_of_this_machine_is_known(url: str) -> None:
    assert is_on_this_machine(url)


@pytest.mark.parametrize(
    "url", [ELSEWHERE, "10.0.0.1:8001", "[2001:db8::1]:8001", "localhost.example:8001", "ipv4:127.0.0.1:1,10.0.0.1:1"]
)
def test_another_machine_is_not_taken_for_this_one(url: str) -> None:
    assert not is_on_this_machine(url)


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_a_proxy_that_lets_nothing_through_is_named(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in {"grpc_proxy", "https_proxy", "http_proxy"} - {variable}:
        monkeypatch.delenv(name)
    with InstaDepth(ELSEWHERE) as client, pytest.raises(ServerUnavailable) as error:
        client.status()
    assert proxy.asked == [f"CONNECT {ELSEWHERE} HTTP/1.1".encode()]
    assert f"the proxy {proxy.address} of {variable}: no_proxy=triton.example" in error.value.message
    assert "secret" not in error.value.message


@pytest.mark.parametrize("exempt", ["triton.example", "localhost, .example"])
def test_a_proxy_that_is_not_asked_is_not_named(
    proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    monkeypatch.setenv("no_proxy", exempt)
    with InstaDepth(ELSEWHERE) as client, pytest.raises(ServerUnavailable) as error:
        client.status()
    assert proxy.asked == []
    assert "proxy" not in error.value.message
