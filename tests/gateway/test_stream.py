"""Server-sent events: progress, previews, the picture; a closed connection; errors on the way."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.gateway.live import LiveGateway, account_of, make_key
from tests.unit.client.triton_lookalike import TritonLookalike
from tests.watching import metric, wait_until

PATH = "/v1/insta-depth/stream"


def events(answer: requests.Response) -> list[tuple[str, dict[str, Any]]]:
    """Return (event, data) of everything in a finished stream; comments are left out."""
    blocks = [block for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in map(lines, blocks)
    ]


def lines(block: str) -> list[str]:
    return block.split("\n")


def test_every_step_is_told_and_then_the_picture(post):
    answer = post(PATH)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["x-cost"], answer.headers["x-remaining-credits"]) == ("1.4", "998.6")
    *steps, (last, told) = events(answer)
    assert steps == [("progress", {"step": step, "num_inference_steps": 4}) for step in (1, 2, 3, 4)]
    assert last == "image"
    assert base64.b64decode(told.pop("image")) == post(base64=False).content
    assert told.pop("generation_time") > 0
    assert told.pop("queue_time") >= 0
    assert told == {
        "output_format": "jpeg",
        "seed": 354849415,
        "pose_face": True,
        "refined": False,
        "warnings": [],
        "cost": 1.4,
        "remaining_credits": 998.6,
    }


def test_previews_come_when_they_are_asked_for(post):
    steps = events(post(PATH, preview=True))[:-1]
    assert all(base64.b64decode(told["preview"]).startswith(b"\xff\xd8") for _, told in steps)


def test_events_come_as_they_happen(gateway, key, body):
    long = body | {"num_inference_steps": 40}
    with requests.post(gateway.url + PATH, json=long, headers={"x-api-key": key}, stream=True) as answer:
        arrivals = [time.monotonic() for line in answer.iter_lines() if line.startswith(b"event: progress")]
    assert len(arrivals) == 40
    assert arrivals[-1] - arrivals[0] > 10 * (arrivals[1] - arrivals[0])


def test_closing_after_a_step_ends_the_work_and_costs_nothing(gateway, server, body, request):
    name = request.node.name
    headers = {"x-api-key": make_key(gateway.database_url, name)}
    long = body | {"num_inference_steps": 100, "guidance_scale": 15}
    with requests.post(gateway.url + PATH, json=long, headers=headers, stream=True) as answer:
        assert next(answer.iter_lines()) == b"event: progress"
    wait_until(lambda: metric(server.metrics_url, "insta_depth_requests_in_flight") == 0, timeout_s=5)
    wait_until(lambda: account_of(gateway.database_url, name).held == 0, timeout_s=5)
    assert account_of(gateway.database_url, name).balance == 1000


def test_a_failure_on_the_way_is_an_event_and_costs_nothing(tmp_path, body):
    lookalike, url = TritonLookalike(), f"sqlite:///{tmp_path / 'accounts.db'}"
    headers = {"x-api-key": make_key(url, "me")}
    try:
        with LiveGateway(lookalike.url, url, tmp_path / "log") as gateway:
            answer = requests.post(gateway.url + PATH, json=body | {"prompt": "cut"}, headers=headers)
        assert answer.status_code == 200
        name, told = events(answer)[-1]
        assert (name, told["code"]) == ("error", "INTERNAL")
        assert (account_of(url, "me").balance, account_of(url, "me").held) == (1000, 0)
    finally:
        lookalike.stop()


@pytest.fixture
def dying(tmp_path: Path, body: dict[str, Any]) -> Iterator[tuple[TritonLookalike, Callable[[str], requests.Response]]]:
    """A server to be killed, and what posts a request to a gateway before it that never ends by itself."""
    lookalike, url = TritonLookalike(), f"sqlite:///{tmp_path / 'accounts.db'}"
    headers, endless = {"x-api-key": make_key(url, "me")}, body | {"prompt": "slow"}
    with LiveGateway(lookalike.url, url, tmp_path / "log") as gateway:
        yield lookalike, lambda path: requests.post(gateway.url + path, json=endless, headers=headers, stream=True)
        wait_until(lambda: account_of(url, "me").held == 0, timeout_s=30)
        assert account_of(url, "me").balance == 1000
    lookalike.stop()


def test_a_server_killed_in_the_middle_is_an_error_event(dying):
    server, post = dying
    with post(PATH) as answer:
        told = answer.iter_lines()
        assert next(told) == b"event: progress"
        server.stop()
        assert b"SERVER_UNAVAILABLE" in b"".join(told)


def test_a_server_killed_in_the_middle_is_503(dying):
    server, post = dying
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(post, "/v1/insta-depth")
        wait_until(lambda: server.received, timeout_s=30)
        server.stop()
        assert answer.result().status_code == 503
