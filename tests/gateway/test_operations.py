"""What an operator sees: settings, logs, metrics, health, and where it listens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from benchmarks.soak.postgres import closed_database, create_database
from tests.gateway.live import LiveGateway, free_port, make_key
from tests.watching import metric, wait_until

PATH = "/v1/insta-depth"


@pytest.fixture
def quiet(tmp_path):
    """A gateway without a server behind it."""
    url = f"sqlite:///{tmp_path / 'accounts.db'}"
    with LiveGateway(f"127.0.0.1:{free_port()}", url, tmp_path / "log", {"LOG_LEVEL": "debug"}) as gateway:
        yield gateway


def logged(gateway: LiveGateway, **fields: object) -> list[dict[str, object]]:
    """Return the log's lines that have these fields."""
    lines = [json.loads(line) for line in gateway.log().splitlines()]
    return [line for line in lines if line.items() >= fields.items()]


def test_a_request_is_one_json_line_with_its_id(gateway, key, post, request):
    answer = post()
    fields = {"message": "request", "request_id": answer.headers["x-request-id"]}
    wait_until(lambda: logged(gateway, **fields), timeout_s=30)  # it comes once the picture is paid for
    (line,) = logged(gateway, **fields)
    assert (line["method"], line["path"], line["status"]) == ("POST", PATH, 200)
    assert line["key"] == request.node.name
    assert line["duration_ms"] > 0


def test_an_id_that_was_sent_is_kept_and_a_bad_one_is_not(post):
    assert post(headers={"x-request-id": "trace-1.A_b"}).headers["x-request-id"] == "trace-1.A_b"
    for bad in ("a b", "a" * 65, '"}{'):
        assert post(headers={"x-request-id": bad}).headers["x-request-id"] != bad


def test_the_log_holds_no_key_and_no_picture_and_no_prompt(gateway, key, post, body):
    post(prompt="a very private prompt")
    post(prompt="a very private prompt", num_inference_steps=3)
    post(face_image="!!!")
    requests.post(gateway.url + PATH, json=body, headers={"x-api-key": key[:-1]})
    requests.get(f"{gateway.url}/v1/get-user-credits?key={key}")
    assert key[12:] not in gateway.log()
    assert body["face_image"][:40] not in gateway.log()
    assert "private" not in gateway.log()


def test_no_secret_is_in_the_database(gateway, key):
    path = gateway.database_url.removeprefix("sqlite:///")
    files = [file for file in (Path(path), Path(f"{path}-wal")) if file.exists()]
    assert not any(key.encode() in file.read_bytes() for file in files)


def test_metrics_count_answers_and_credits(gateway, post):
    url = f"{gateway.url}/metrics"
    names = ("requests_total", "credits_spent_total", "generation_seconds_count", "queue_seconds_count")
    before = [metric(url, f"insta_depth_gateway_{name}") for name in names]
    post()
    post(num_inference_steps=3)
    wait_until(lambda: metric(url, "insta_depth_gateway_credits_spent_total") > before[1], timeout_s=30)
    after = [metric(url, f"insta_depth_gateway_{name}") for name in names]
    grown = [round(now - then, 3) for now, then in zip(after, before, strict=True)]
    assert grown[0] >= 2  # reading the metrics counts, too
    assert grown[1:] == [1.4, 1, 1]


def test_paths_that_callers_invent_do_not_become_labels(gateway):
    requests.get(f"{gateway.url}/invented/{os.urandom(8).hex()}")
    text = requests.get(f"{gateway.url}/metrics").text
    assert "invented" not in text
    assert 'path="other"' in text


def test_healthy_and_ready_are_two_things(gateway, quiet):
    assert requests.get(f"{gateway.url}/readyz").json() == {"status": "ready"}
    assert requests.get(f"{quiet.url}/healthz").json() == {"status": "ok"}
    assert requests.get(f"{quiet.url}/readyz").status_code == 503


def test_it_listens_on_this_machine_alone_unless_told(quiet):
    listening = [
        each.laddr.ip
        for each in psutil.Process(quiet.process.pid).net_connections()
        if each.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("PORT", "http", "INSTA_DEPTH_GATEWAY_PORT: 'http' is wrong: "),
        ("PORT", "70000", "INSTA_DEPTH_GATEWAY_PORT: '70000' is wrong: "),
        ("PRICE_BASE", "-1", "INSTA_DEPTH_GATEWAY_PRICE_BASE: '-1' is wrong: "),
        ("PRICE_PER_STEP", "0.0001", "INSTA_DEPTH_GATEWAY_PRICE_PER_STEP: '0.0001' is wrong: "),
        ("LEASE_S", "1", "INSTA_DEPTH_GATEWAY_LEASE_S: '1' is wrong: "),
        ("MAX_IN_FLIGTH", "8", "INSTA_DEPTH_GATEWAY_MAX_IN_FLIGTH: there is no such setting"),
        ("TRITON_URL", "http://127.0.0.1:8000", "INSTA_DEPTH_GATEWAY_TRITON_URL: "),
        ("DATABASE_URL", "mysql://me:secret@127.0.0.1/a", "INSTA_DEPTH_GATEWAY_DATABASE_URL: mysql is neither"),
        ("DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/a", "INSTA_DEPTH_GATEWAY_DATABASE_URL: the database"),
        ("DATABASE_URL", "sqlite://", "INSTA_DEPTH_GATEWAY_DATABASE_URL: an SQLite database needs a file"),
        (
            "DATABASE_URL",
            "sqlite:////proc/nowhere/a.db",
            "INSTA_DEPTH_GATEWAY_DATABASE_URL: the database cannot be used: ",
        ),
        ("DATABASE_URL", "nonsense", "INSTA_DEPTH_GATEWAY_DATABASE_URL: is not a database URL"),
    ],
)
def test_a_setting_that_is_wrong_is_named(variable, text, said, tmp_path):
    environment = os.environ | {
        "INSTA_DEPTH_GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'accounts.db'}",
        "INSTA_DEPTH_GATEWAY_PAGE": "0",
        f"INSTA_DEPTH_GATEWAY_{variable}": text,
    }
    command = [sys.executable, "-m", "insta_depth", "gateway"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"insta-depth: {said}")
    assert "secret" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_goes_away_is_503_and_comes_back(server, postgresql_url, tmp_path, body):
    url = create_database(postgresql_url)
    headers = {"x-api-key": make_key(url, "me")}
    with LiveGateway(server.grpc_url, url, tmp_path / "log") as gateway:
        assert requests.post(gateway.url + PATH, json=body, headers=headers).status_code == 200
        with closed_database(postgresql_url, url):
            answer = requests.post(gateway.url + PATH, json=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "SERVER_UNAVAILABLE")
            assert requests.get(f"{gateway.url}/readyz").status_code == 503
        assert requests.post(gateway.url + PATH, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/a.png", "https://localhost/a.png", "https://[::1]/", "http://8.8.8.8/"]
)
def test_urls_of_the_inside_are_refused_where_fetching_is_on(tmp_path, body, url):
    database_url = f"sqlite:///{tmp_path / 'accounts.db'}"
    headers = {"x-api-key": make_key(database_url, "me")}
    triton_url = f"127.0.0.1:{free_port()}"
    with LiveGateway(triton_url, database_url, tmp_path / "log", {"FETCH_URLS": "true"}) as gateway:
        answer = requests.post(gateway.url + PATH, json=body | {"pose_image": url}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")
    assert answer.json()["error"].startswith(f"pose_image: {url.split('/')[0]}")
    assert answer.headers["x-remaining-credits"] == "1000"
