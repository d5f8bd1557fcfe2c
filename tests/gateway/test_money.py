"""A credit is never lost and never spent twice: parallel requests, killed gateways, callers who hang up."""

import contextlib
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from deploy.local.server import LocalTriton
from tests.gateway.live import LiveGateway, account_of, make_key
from tests.watching import metric, wait_until

PATH = "/v1/insta-depth"
PRICE = Decimal("1.4")
KILLS = 20
LEASE_S = 4


@pytest.fixture
def gateways(server: LocalTriton, database_url: str, tmp_path: Path) -> Iterator[list[LiveGateway]]:
    """Two gateways in front of one server, with one database."""
    with contextlib.ExitStack() as stack:
        settings = {"LEASE_S": str(LEASE_S)}
        yield [
            stack.enter_context(LiveGateway(server.grpc_url, database_url, tmp_path / f"log{number}", settings))
            for number in range(2)
        ]


def test_200_parallel_requests_on_credits_for_50_make_exactly_50_pictures(gateways, database_url, body):
    secret = make_key(database_url, "me", str(PRICE * 50))

    def call(number: int) -> int:
        url = gateways[number % 2].url + PATH
        return requests.post(url, json=body, headers={"x-api-key": secret}, timeout=300).status_code

    with ThreadPoolExecutor(200) as threads:
        statuses = Counter(threads.map(call, range(200)))
    assert statuses == {200: 50, 406: 150}
    after = settled(database_url, "me")
    assert (after.balance, after.spent, after.requests) == (0, PRICE * 50, 50)


@pytest.mark.long
def test_a_gateway_killed_again_and_again_loses_nothing(server, database_url, tmp_path, body):
    secret, put_in = make_key(database_url, "me", 10_000), Decimal(10_000)
    gateway = LiveGateway(server.grpc_url, database_url, tmp_path / "log", {"LEASE_S": str(LEASE_S)})
    with under_load(gateway, secret, body) as statuses:
        for _ in range(KILLS):
            gateway.start()
            seen = statuses[200]
            wait_until(lambda seen=seen: statuses[200] > seen, timeout_s=30)  # in the middle of load
            time.sleep(random.uniform(0, 0.3))
            gateway.kill()
    with gateway:
        after = settled(database_url, "me")
    assert statuses[200] >= KILLS
    assert set(statuses) <= {200, 503}
    assert after.balance + after.spent == put_in
    assert after.spent == PRICE * after.requests
    # A picture is paid for once it is sent: the last before a kill may be free, none is paid for that was not sent.
    assert after.requests <= statuses[200]


@contextlib.contextmanager
def under_load(gateway: LiveGateway, secret: str, body: dict[str, Any], callers: int = 8) -> Iterator[Counter[int]]:
    """Have callers send requests all the time, some of whom hang up; count the statuses of what they receive."""
    over, statuses = threading.Event(), Counter[int]()

    def call(number: int) -> None:
        for attempt in itertools.count():
            if over.is_set():
                return
            timeout_s = 0.1 if (attempt + number) % 5 == 0 else 60
            try:
                answer = requests.post(
                    gateway.url + PATH, json=body | {"seed": attempt}, headers={"x-api-key": secret}, timeout=timeout_s
                )
                statuses[answer.status_code] += 1
            except requests.RequestException:
                time.sleep(0.02)

    with ThreadPoolExecutor(callers) as threads:
        calls = [threads.submit(call, number) for number in range(callers)]
        try:
            yield statuses
        finally:
            over.set()
    for each in calls:
        each.result()


def settled(database_url: str, name: str) -> Any:
    """Wait until nothing is held and return the account, whose figures must add up all the time."""

    def nothing_is_held() -> bool:
        now = account_of(database_url, name)
        assert now.deposited == now.balance + now.held + now.spent
        return now.held == 0

    wait_until(nothing_is_held, timeout_s=5 * LEASE_S)
    return account_of(database_url, name)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
def test_a_caller_who_hangs_up_ends_the_work_and_pays_nothing(gateway, server, body, path, request):
    name = request.node.name
    secret = make_key(gateway.database_url, name)
    with raw_request(gateway, path, secret, body | {"num_inference_steps": 100}):
        wait_until(lambda: in_flight(server) == 1, timeout_s=30)
        assert account_of(gateway.database_url, name).held == 11
    wait_until(lambda: in_flight(server) == 0, timeout_s=5)
    after = settled(gateway.database_url, name)
    assert (after.balance, after.spent) == (1000, 0)


def test_a_caller_who_hangs_up_in_the_line_pays_nothing(gateway, server, body, request):
    name = request.node.name
    secret = make_key(gateway.database_url, name)
    with contextlib.ExitStack() as stack:
        for _ in range(12):  # of which eight are at work
            stack.enter_context(raw_request(gateway, PATH, secret, body | {"num_inference_steps": 100}))
        wait_until(lambda: metric(f"{gateway.url}/metrics", "insta_depth_gateway_waiting") == 4, timeout_s=30)
    wait_until(lambda: metric(f"{gateway.url}/metrics", "insta_depth_gateway_waiting") == 0, timeout_s=5)
    assert settled(gateway.database_url, name).balance == 1000
    wait_until(lambda: in_flight(server) == 0, timeout_s=5)


def in_flight(server: LocalTriton) -> float:
    """Requests at work in Triton itself."""
    return metric(server.metrics_url, "insta_depth_requests_in_flight")


@contextlib.contextmanager
def raw_request(gateway: LiveGateway, path: str, secret: str, body: dict[str, Any]) -> Iterator[socket.socket]:
    """Send a request and close its connection at the end of the block, whatever was answered by then."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nx-api-key: {secret}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield connection


def test_what_a_killed_gateway_held_is_returned_by_another(gateways, server, database_url, body):
    secret = make_key(database_url, "me")
    first, second = gateways
    with raw_request(first, PATH, secret, body | {"num_inference_steps": 100}):
        wait_until(lambda: account_of(database_url, "me").held > 0, timeout_s=30)
        first.kill()
        assert account_of(database_url, "me").held == 11
        assert settled(database_url, "me").balance == 1000
    assert metric(f"{second.url}/metrics", "insta_depth_gateway_reservations_expired_total") == 1


@pytest.mark.long
def test_a_lease_is_renewed_while_its_request_runs(tmp_path, server, body):
    """The gateway's only turn is taken for longer than the lease."""
    url = f"sqlite:///{tmp_path / 'accounts.db'}"
    secret = make_key(url, "me")
    settings = {"LEASE_S": str(LEASE_S), "MAX_IN_FLIGHT": "1"}
    with LiveGateway(server.grpc_url, url, tmp_path / "log", settings) as gateway, ThreadPoolExecutor(4) as threads:
        long = body | {"num_inference_steps": 100, "guidance_scale": 15}

        def call(number: int) -> int:
            return requests.post(
                gateway.url + PATH, json=long | {"seed": number}, headers={"x-api-key": secret}
            ).status_code

        started_s = time.monotonic()
        assert list(threads.map(call, range(4))) == [200] * 4
        assert time.monotonic() - started_s > LEASE_S + 1, "too quick to show anything: raise the number of requests"
        assert account_of(url, "me").spent == 44


def test_a_stop_finishes_what_is_in_flight(tmp_path, server, body):
    url = f"sqlite:///{tmp_path / 'accounts.db'}"
    secret = make_key(url, "me")
    with LiveGateway(server.grpc_url, url, tmp_path / "log") as gateway, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(
            requests.post, gateway.url + PATH, json=body | {"num_inference_steps": 60}, headers={"x-api-key": secret}
        )
        wait_until(lambda: account_of(url, "me").held > 0, timeout_s=30)
        assert gateway.stop() == 0
        assert answer.result().status_code == 200
    assert (account_of(url, "me").spent, account_of(url, "me").held) == (7, 0)
