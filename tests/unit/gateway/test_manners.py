"""What any HTTP service grants its callers, on the whole application; no Triton is asked."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from insta_depth_gateway.accounts import Ledger, connect, migrate
from insta_depth_gateway.app import create_app
from insta_depth_gateway.settings import SettingError, Settings, read_settings

PATH = "/v1/insta-depth"
ORIGIN = "https://shop.example"


@pytest.fixture
def caller(tmp_path: Path) -> Callable[..., TestClient]:
    """Make a client of a gateway with settings; `key` in its headers has 10 credits."""

    def make(**settings: Any) -> TestClient:
        url = f"sqlite:///{tmp_path / 'accounts.db'}"
        engine = connect(url)
        migrate(engine)
        key = Ledger(engine).create_key("me", Decimal(10))[1]
        app = create_app(Settings(database_url=url, page=False, **settings))
        return TestClient(app, headers={"x-api-key": key}, raise_server_exceptions=False)

    return make


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/metrics", "/openapi.json", "/v1/get-user-credits/"])
def test_what_can_be_read_answers_head_and_options(caller: Callable[..., TestClient], path: str) -> None:
    client = caller()
    got, head, options = (client.request(method, path) for method in ("GET", "HEAD", "OPTIONS"))
    assert (got.status_code, head.status_code, options.status_code) == (200, 200, 204)
    assert head.headers["content-type"] == got.headers["content-type"]
    assert options.headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_slash_at_the_end_changes_nothing_else(caller: Callable[..., TestClient]) -> None:
    client = caller()
    assert client.post(f"{PATH}/", json={}).json() == client.post(PATH, json={}).json()
    assert client.head(f"{PATH}/").status_code == 405
    assert client.post("/v1/").status_code == 404


def test_no_other_origin_is_let_in_unless_it_is_set(caller: Callable[..., TestClient]) -> None:
    answer = caller().post(PATH, json={}, headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("setting", [f"http://a.example:8000, {ORIGIN}", "*"])
def test_a_page_of_an_origin_that_is_set_may_call_and_read(caller: Callable[..., TestClient], setting: str) -> None:
    client = caller(cors_origins=setting)
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "content-type,x-api-key"
    leave = client.options(f"{PATH}/stream", headers=asked)
    assert leave.status_code == 200
    assert {"content-type", "x-api-key"} <= set(leave.headers["access-control-allow-headers"].lower().split(", "))
    refused = client.post(PATH, json={}, headers={"Origin": ORIGIN})
    unknown = client.post(PATH, json={}, headers={"Origin": ORIGIN, "x-api-key": "nobody's"})
    absent = client.get("/nope", headers={"Origin": ORIGIN})
    assert [each.status_code for each in (refused, unknown, absent)] == [400, 401, 404]
    for answer in (leave, refused, unknown, absent):
        assert answer.headers["access-control-allow-origin"] in (ORIGIN, "*")
    assert "x-remaining-credits" in refused.headers["access-control-expose-headers"]


def test_a_page_of_another_origin_may_not(caller: Callable[..., TestClient]) -> None:
    answer = caller(cors_origins=ORIGIN).get("/healthz", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("text", ["shop.example", "https://shop.example/", "https://a.example https://b.example"])
def test_what_is_no_origin_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingError, match="INSTA_DEPTH_GATEWAY_CORS_ORIGINS"):
        read_settings({"INSTA_DEPTH_GATEWAY_CORS_ORIGINS": text})
