"""Every status of the one table, provoked for real and compared with the committed OpenAPI document."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from insta_depth._errors import ERRORS_BY_CODE
from insta_depth_gateway.errors import STATUS_BY_CODE, GatewayError
from insta_depth_gateway.openapi import document

from tests.gateway.live import LiveGateway, free_port, make_key
from tests.unit.client.triton_lookalike import TritonLookalike
from tests.watching import metric, wait_until

COMMITTED = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
PATH = "/v1/insta-depth"


def test_the_committed_document_is_the_codes():
    assert document() == COMMITTED, "run `make fix`"


def test_the_served_document_is_the_committed_one(gateway):
    assert requests.get(f"{gateway.url}/openapi.json").json() == COMMITTED


def test_every_error_code_has_a_status_that_the_document_knows():
    own = {error.code for error in GatewayError.__subclasses__()}
    assert own | set(ERRORS_BY_CODE) == set(STATUS_BY_CODE)
    documented = {int(status) for status in COMMITTED["paths"][PATH]["post"]["responses"]}
    assert documented == set(STATUS_BY_CODE.values()) | {200}


def checked(answer: requests.Response, status: int, code: str) -> dict[str, str]:
    """See that an error is the one expected and looks as documented; return its body."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert set(answer.json()) == {"error", "code"}
    assert answer.json()["error"]
    assert answer.headers["x-request-id"]
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    return answer.json()


def test_400_names_field_value_and_limit(post):
    answer = post(num_inference_steps=101)
    assert checked(answer, 400, "INVALID_INPUT")["error"] == "num_inference_steps: 101 is above the maximum 100"
    assert answer.headers["x-remaining-credits"] == "1000"


def test_400_by_the_server_costs_nothing(post):
    answer = post(prompt="  ")
    assert "prompt" in checked(answer, 400, "INVALID_INPUT")["error"]
    assert answer.headers["x-remaining-credits"] == "1000"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "idk_wrong"}, {"x-api-key": "é"}], ids=str)
@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
def test_401_without_a_known_key(gateway, body, path, headers):
    answer = requests.post(gateway.url + path, json=body, headers={k: v.encode() for k, v in headers.items()})
    checked(answer, 401, "UNAUTHORIZED")
    assert "x-remaining-credits" not in answer.headers


def test_401_comes_before_the_body_is_read(gateway):
    answer = requests.post(gateway.url + PATH, data=b"x" * 5_000_000, headers={"Content-Type": "application/json"})
    checked(answer, 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    "path", ["/nope", "/v1/", "/v1/insta-depth//nope", "/v1/insta-depth/nope", "/V1/insta-depth", "/docs"]
)
def test_404_elsewhere(gateway, key, path):
    answer = requests.get(gateway.url + path, headers={"x-api-key": key}, allow_redirects=False)
    checked(answer, 404, "NOT_FOUND")
    assert answer.headers["x-remaining-credits"] == "1000"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_405_says_what_is_allowed(gateway, key, method):
    answer = requests.request(method, gateway.url + PATH, headers={"x-api-key": key})
    checked(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "POST"
    assert answer.headers["x-remaining-credits"] == "1000"


def test_400_for_a_body_that_does_not_come(alone, tmp_path):
    with alone(tmp_path, f"127.0.0.1:{free_port()}", BODY_TIMEOUT_S="0.5") as (gateway, send):
        key = send.keywords["headers"]["x-api-key"]
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
            connection.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + b"{")
            answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
def test_406_names_price_and_balance(gateway, body, path, request):
    poor = make_key(gateway.database_url, request.node.name, "1.399")
    answer = requests.post(gateway.url + path, json=body, headers={"x-api-key": poor})
    assert checked(answer, 406, "NOT_ENOUGH_CREDITS")["error"] == "the request costs 1.4 credits, the key has 1.399"
    assert answer.headers["x-remaining-credits"] == "1.399"


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
@pytest.mark.parametrize("change", [{"prompt": "a" * 9000}, {"face_image": "A" * 50_000_000}], ids=["prompt", "body"])
def test_413_for_what_is_too_large(post, path, change):
    answer = post(path, **change)
    checked(answer, 413, "TOO_LARGE")
    assert answer.headers["x-remaining-credits"] == "1000"


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
def test_422_without_a_face(post, faceless, path):
    answer = post(path, pose_image=faceless)
    assert checked(answer, 422, "NO_FACE")["error"].startswith("pose_image: no face")
    assert answer.headers["x-remaining-credits"] == "1000"


def test_429_for_a_key_that_is_too_quick(gateway, body, request):
    quick = make_key(gateway.database_url, request.node.name, rate_limit=2)
    answers = [requests.post(gateway.url + PATH, json=body, headers={"x-api-key": quick}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "2 requests a minute" in checked(answers[2], 429, "RATE_LIMITED")["error"]
    assert 0 < int(answers[2].headers["Retry-After"]) <= 60
    assert answers[2].headers["x-remaining-credits"] == "997.2"


def test_500_tells_nothing_of_the_inside(alone, tmp_path):
    lookalike = TritonLookalike()
    try:
        with alone(tmp_path, lookalike.url) as (gateway, send):
            for prompt in ("[ENGINE_FAILED] unet: secret", "[INTERNAL] secret", "cut"):
                answer = send(prompt=prompt)
                assert answer.status_code == 500
                assert set(answer.json()) == {"error", "code"}
                assert "secret" not in answer.text
                assert answer.headers["x-remaining-credits"] == "1000"
            assert "secret" in gateway.log()
    finally:
        lookalike.stop()


def test_503_without_a_server(alone, tmp_path):
    with alone(tmp_path, f"127.0.0.1:{free_port()}") as (gateway, send):
        answer = send()
        assert "127.0.0.1" not in checked(answer, 503, "SERVER_UNAVAILABLE")["error"]
        assert answer.headers["x-remaining-credits"] == "1000"
        checked(requests.get(f"{gateway.url}/readyz"), 503, "SERVER_UNAVAILABLE")
        assert requests.get(f"{gateway.url}/healthz").status_code == 200


def test_503_when_the_line_is_full(alone, server, tmp_path):
    with alone(tmp_path, server.grpc_url, MAX_IN_FLIGHT="1", MAX_WAITING="0") as (gateway, send):
        first = threading.Thread(target=send, kwargs={"num_inference_steps": 100})
        first.start()
        wait_until(lambda: metric(f"{gateway.url}/metrics", "insta_depth_gateway_in_flight") == 1, timeout_s=30)
        checked(send(), 503, "OVERLOADED")
        first.join()
        assert send().status_code == 200


def test_503_when_requests_hold_too_many_bytes(alone, tmp_path):
    with alone(tmp_path, f"127.0.0.1:{free_port()}", MAX_BUFFERED_BYTES="1000") as (_, send):
        assert "1000 bytes" in checked(send(), 503, "OVERLOADED")["error"]


def test_503_when_a_picture_takes_too_long(alone, server, tmp_path):
    with alone(tmp_path, server.grpc_url, GENERATION_TIMEOUT_S="0.05") as (_, send):
        answer = send(num_inference_steps=100)
        checked(answer, 503, "DEADLINE_EXCEEDED")
        assert answer.headers["x-remaining-credits"] == "1000"


@pytest.fixture
def alone(body: dict[str, Any]) -> Callable[..., Any]:
    """Run a gateway of the test's own; yield it, and what posts the body to it with a key of 1000 credits."""

    @contextlib.contextmanager
    def run(folder: Path, triton_url: str, **settings: str) -> Iterator[tuple[LiveGateway, Callable[..., Any]]]:
        url = f"sqlite:///{folder / 'accounts.db'}"
        headers = {"x-api-key": make_key(url, "me")}
        with LiveGateway(triton_url, url, folder / "log", settings) as gateway:
            yield gateway, partial(post, gateway.url + PATH, headers=headers)

    def post(url: str, headers: dict[str, str], **changes: Any) -> requests.Response:
        return requests.post(url, json=body | changes, headers=headers)

    return run
