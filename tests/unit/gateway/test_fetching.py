import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from insta_depth_gateway.errors import BadRequest, BodyTooLarge
from insta_depth_gateway.fetching import Address, FetchLimits, PictureFetcher, is_public

from .picture_site import LARGE, NAME, PICTURE, PictureSite, make_certificate, serving

NOT_PUBLIC = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 169.254.169.254 172.16.0.1 192.0.2.1 192.168.1.1 198.18.0.1 224.0.0.1
240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:7f00:1::f7f7:f7f7
2001:0:808:808::80ff:fffe 2001:db8::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ff0e::1 4000::1
"""

Fetching = Callable[..., AbstractAsyncContextManager[PictureFetcher]]


class Names(AbstractResolver):
    """Answers with the addresses given, one list after the other, the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0)
            for each in found
        ]

    async def close(self) -> None:
        pass


def only_first(address: Address) -> bool:
    return str(address) == "127.0.0.1"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def site(certificate: tuple[Path, Path]) -> AsyncIterator[PictureSite]:
    async with serving(*certificate) as site:
        yield site


@pytest.fixture
def fetching(site: PictureSite) -> Fetching:
    """A fetcher that trusts the site and may connect to 127.0.0.1, unless told otherwise."""

    @asynccontextmanager
    async def make(timeout_s: float = 3, **options: Any) -> AsyncIterator[PictureFetcher]:
        settings: dict[str, Any] = {"allowed": only_first, "ssl_context": site.trust, "port": site.port} | options
        fetcher = PictureFetcher(FetchLimits(max_bytes=1000, timeout_s=timeout_s, max_redirects=2), **settings)
        try:
            yield fetcher
        finally:
            await fetcher.close()

    return make


async def refusal(fetcher: PictureFetcher, url: str, kind: type[Exception] = BadRequest) -> str:
    """The message with which the URL is refused, which has to name the field."""
    with pytest.raises(kind, match=r"^pose_image: ") as caught:
        await fetcher.fetch("pose_image", url)
    assert "token" not in str(caught.value)
    return str(caught.value)


async def test_returns_what_lies_there(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        assert await fetcher.fetch("pose_image", site.url()) == PICTURE


async def test_asks_without_cookies_or_compression(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        for _ in range(2):
            await fetcher.fetch("pose_image", site.url("/picture.jpg?token=1"))
    for request in site.requests:
        assert request.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in request.headers


async def test_uses_no_proxy_of_the_environment(
    site: PictureSite, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with fetching() as fetcher:
        assert await fetcher.fetch("pose_image", site.url()) == PICTURE


async def test_follows_redirects_on_the_same_host_and_others(site: PictureSite, fetching: Fetching) -> None:
    async with fetching(resolver=Names(["127.0.0.1"])) as fetcher:
        assert await fetcher.fetch("pose_image", site.url("/again/2")) == PICTURE
        assert await fetcher.fetch("pose_image", site.url(f"/to?url={site.url(host=NAME)}")) == PICTURE


async def test_ends_after_too_many_redirects(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        assert "more than 2 times" in await refusal(fetcher, site.url("/again/3"))
    assert len(site.requests) == 3


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("https://127.0.0.2:{port}/picture.jpg", "not public"),
        ("https://localhost.:{port}/picture.jpg", "not public"),
        ("http://127.0.0.1:{port}/picture.jpg", "only https"),
        ("file:///etc/passwd", "only https"),
        ("https://user:pw@127.0.0.1:{port}/picture.jpg", "name or password"),
        ("https://127.0.0.1:22/", "port"),
        ("https://[::1", "not a URL"),
        ("https://2130706433:{port}/", "not"),
    ],
)
async def test_does_not_follow_a_redirect_to_what_is_refused(
    site: PictureSite, fetching: Fetching, target: str, said: str
) -> None:
    async with fetching(resolver=Names(["127.0.0.2"])) as fetcher:
        message = await refusal(fetcher, site.url(f"/to?url={target.format(port=site.port)}"))
    assert said in message
    assert "127.0.0.2" not in message
    assert len(site.requests) == 1


async def test_refuses_a_redirect_to_nowhere(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        assert "not a URL" in await refusal(fetcher, site.url("/nowhere"))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "localhost",
        "[::ffff:127.0.0.1]",
        "127。0。0。1",
    ],
)
async def test_refuses_this_machine_however_it_is_spelt(site: PictureSite, fetching: Fetching, host: str) -> None:
    async with fetching(allowed=is_public) as fetcher:
        message = await refusal(fetcher, site.url("/picture.jpg?token=1", host))
    # aiohttp takes some of the spellings for mistakes.
    assert "not public" in message or "not a URL" in message
    assert site.requests == []


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]", "[fe80::1%25lo]", "224.0.0.1"])
async def test_refuses_other_networks_before_connecting(fetching: Fetching, site: PictureSite, host: str) -> None:
    async with fetching(allowed=is_public, timeout_s=1) as fetcher:
        assert "not public" in await refusal(fetcher, site.url(host=host))


async def test_refuses_a_name_that_resolves_to_this_machine(site: PictureSite, fetching: Fetching) -> None:
    async with fetching(resolver=Names(["127.0.0.1"])) as fetcher:
        assert await fetcher.fetch("pose_image", site.url(host=NAME)) == PICTURE
    async with fetching(resolver=Names(["127.0.0.1"]), allowed=is_public) as fetcher:
        message = await refusal(fetcher, site.url(host=NAME))
    assert "not public" in message
    assert "127.0.0.1" not in message
    assert len(site.requests) == 1


@pytest.mark.parametrize("address", ["127.1", "2130706433", "0x7f000001"])
async def test_refuses_an_address_that_only_the_system_can_read(
    site: PictureSite, fetching: Fetching, address: str
) -> None:
    async with fetching(resolver=Names([address]), allowed=lambda _: True) as fetcher:
        assert "not public" in await refusal(fetcher, site.url(host=NAME))
    assert site.requests == []


async def test_checks_every_address_of_a_name(site: PictureSite, fetching: Fetching) -> None:
    async with fetching(resolver=Names(["127.0.0.3", "127.0.0.2"])) as fetcher:
        assert "not public" in await refusal(fetcher, site.url(host=NAME))
    async with fetching(resolver=Names(["127.0.0.2", "127.0.0.1"])) as fetcher:
        assert await fetcher.fetch("pose_image", site.url(host=NAME)) == PICTURE
    assert site.addresses == ["127.0.0.1"]


async def test_checks_a_name_again_that_resolves_differently(site: PictureSite, fetching: Fetching) -> None:
    async with fetching(resolver=Names(["127.0.0.1"], ["127.0.0.2"])) as fetcher:
        fetcher._session().connector.clear_dns_cache()  # type: ignore[union-attr]
        assert await fetcher.fetch("pose_image", site.url(host=NAME)) == PICTURE
        fetcher._session().connector.clear_dns_cache()  # type: ignore[union-attr]
        assert "not public" in await refusal(fetcher, site.url(host=NAME))
    assert len(site.requests) == 1


@pytest.mark.parametrize("path", ["/large", "/stream"])
async def test_refuses_what_is_too_large(site: PictureSite, fetching: Fetching, path: str) -> None:
    assert LARGE > 1000
    async with fetching() as fetcher:
        assert "larger than 1000 bytes" in await refusal(fetcher, site.url(path), BodyTooLarge)


async def test_does_not_read_what_says_that_it_is_too_large(
    site: PictureSite, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiohttp.StreamReader.iter_chunked", lambda *_: pytest.fail("it was read"))
    async with fetching() as fetcher:
        await refusal(fetcher, site.url("/large"), BodyTooLarge)


@pytest.mark.parametrize("path", ["/slow", "/drip"])
async def test_gives_up_a_slow_server(site: PictureSite, fetching: Fetching, path: str) -> None:
    started = time.monotonic()
    async with fetching(timeout_s=0.3) as fetcher:
        assert "longer than 0.3 s" in await refusal(fetcher, site.url(path))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("status", [204, 206, 304, 403, 404, 500])
async def test_takes_status_200_only(site: PictureSite, fetching: Fetching, status: int) -> None:
    async with fetching() as fetcher:
        assert f"status {status}" in await refusal(fetcher, site.url(f"/status/{status}?token=1"))


async def test_does_not_unpack(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        assert "compressed" in await refusal(fetcher, site.url("/bomb"))


async def test_refuses_half_a_picture(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        assert "cannot be" in await refusal(fetcher, site.url("/cut"))


async def test_refuses_a_certificate_that_is_not_trusted(site: PictureSite, fetching: Fetching) -> None:
    async with fetching(ssl_context=ssl.create_default_context()) as fetcher:
        assert "certificate" in await refusal(fetcher, site.url())
    async with fetching(ssl_context=None) as fetcher:
        assert "certificate" in await refusal(fetcher, site.url())
    assert site.requests == []


async def test_refuses_another_port_than_that_of_https(site: PictureSite, fetching: Fetching) -> None:
    async with fetching(port=443) as fetcher:
        assert "other than 443" in await refusal(fetcher, site.url())
    assert site.requests == []


@pytest.mark.parametrize("scheme", ["http", "ftp", "file", "data", "gopher", "HTTP"])
async def test_refuses_other_schemes(fetching: Fetching, scheme: str) -> None:
    async with fetching() as fetcher:
        rest = ":image/png;base64,token" if scheme == "data" else "://127.0.0.1/x"
        assert "only https" in await refusal(fetcher, f"{scheme}{rest}")


async def test_refuses_credentials_and_does_not_repeat_them(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        for user in ("token@", "token:token@", ":token@"):
            assert "password" in await refusal(fetcher, site.url(host=f"{user}127.0.0.1"))
    assert site.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.jpg",
        "/etc/passwd",
        "//example.com/x",
        "https://",
        "https:///x",
        "https:127.0.0.1",
        "https://[::1",
        "https://a:99999/",
        "https://a:b/",
        "https://ex ample/",
        "https://a/\r\nHost: b",
        "https://127.0.0.1\\@b/",
        "https://xn--/",
        "https://a/\x00",
    ],
)
async def test_refuses_what_is_not_a_url(fetching: Fetching, url: str) -> None:
    async with fetching() as fetcher:
        assert "not a URL" in await refusal(fetcher, url)


@pytest.mark.parametrize("host", ["nobody.invalid", "a" * 80 + ".com", "..."])
async def test_says_that_a_name_is_not_known(site: PictureSite, fetching: Fetching, host: str) -> None:
    async with fetching() as fetcher:
        assert "name is not known" in await refusal(fetcher, site.url(host=host))


async def test_says_that_nobody_answers(site: PictureSite, fetching: Fetching) -> None:
    async with fetching(port=9) as fetcher:
        assert "reached" in await refusal(fetcher, "https://127.0.0.1:9/x")


async def test_names_the_url_shortened(site: PictureSite, fetching: Fetching) -> None:
    async with fetching() as fetcher:
        message = await refusal(fetcher, site.url(f"/status/404?token=1&{'x' * 500}#token"))
        assert site.url("/status/404 is") in message
        assert len(await refusal(fetcher, site.url(f"/status/404/{'x' * 500}", "127.0.0.2"))) < 250
        assert "2048" in await refusal(fetcher, site.url("/" + "x" * 3000))


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_an_address_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
