"""Real Triton, started as the container starts it, with the container's probes beside it."""

import asyncio
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
import tritonclient.grpc as grpc
from insta_depth import AsyncInstaDepth, InstaDepth, Overloaded
from tritonclient.utils import InferenceServerException

from benchmarks.soak.processes import model_process
from deploy.docker import serve_triton
from tests.conftest import ROOT
from tests.deploy.container_triton import bare_triton
from tests.watching import metric, wait_until

SCRIPTS = ROOT / "deploy" / "docker"
KEY = "an-admin-key-of-the-tests"
CONNECTION_AGE_S = 1
GRPC_HEADER = f"triton-grpc-protocol-{serve_triton.ADMIN_HEADER}"


@pytest.fixture(scope="module")
def triton(miniature_repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    (folder / "key").write_text(KEY + "\n")
    settings = {
        "INSTA_DEPTH_TRITON_ADMIN_KEY_FILE": str(folder / "key"),
        "INSTA_DEPTH_TRITON_GRPC_CONNECTION_AGE_S": str(CONNECTION_AGE_S),
    }
    with bare_triton(miniature_repository, folder, settings) as running:
        yield running


@pytest.fixture
def ask(face, pose):
    """Keyword arguments of a request, long enough to be seen in flight."""
    return dict(face_image=face, pose_image=pose, prompt="a woman", num_inference_steps=100, seed=1)


def run(script: str, *arguments: object) -> tuple[int, str, float]:
    """Run a script of the image: exit status, what it said, seconds."""
    start_s = time.monotonic()
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr, time.monotonic() - start_s


def in_flight(triton) -> float:
    return metric(f"http://127.0.0.1:{triton.metrics_port}/metrics", "insta_depth_requests_in_flight")


def start(triton, ask, outcomes=None) -> threading.Thread:
    """Make a picture in a thread."""

    def generate():
        with InstaDepth(f"127.0.0.1:{triton.grpc_port}", timeout_s=60) as client:
            try:
                outcome = client.generate(**ask)
            except Overloaded as error:
                outcome = error
        if outcomes is not None:
            outcomes.append(outcome)

    thread = threading.Thread(target=generate)
    thread.start()
    return thread


def test_a_picture_is_made(triton, ask):
    with InstaDepth(f"127.0.0.1:{triton.grpc_port}", timeout_s=60) as client:
        assert client.generate(**ask | {"num_inference_steps": 4}).image


async def test_a_connection_is_renewed_and_what_runs_on_it_runs_to_its_end(triton, ask):
    """The server's connections live a second: a picture takes longer, and the client comes by many of them."""
    ages, seen = [], set()

    async def watch():
        while True:
            seen.update(connections(triton))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    async with AsyncInstaDepth(f"127.0.0.1:{triton.grpc_port}", timeout_s=120) as client:
        for _ in range(2):
            started = time.monotonic()
            assert (await client.generate(**ask)).image
            ages.append(time.monotonic() - started)
    watching.cancel()
    assert len(seen) > 1
    assert min(ages) > 2 * CONNECTION_AGE_S


def connections(triton) -> set[int]:
    """The clients' ends of the server's gRPC connections."""
    own = psutil.Process().net_connections(kind="tcp")
    return {end.laddr.port for end in own if end.raddr and end.raddr.port == triton.grpc_port}


RESTRICTED = (
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/unet/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/logging"),
)


@pytest.mark.parametrize(("method", "path"), RESTRICTED)
def test_http_closes_what_changes_the_server(triton, method, path):
    assert triton.get(path, method)[0] == 403
    assert triton.get(path, method, **{serve_triton.ADMIN_HEADER: "another-key-of-16-or-more"})[0] == 403


def test_http_opens_it_for_the_key(triton):
    status, text = triton.get("/v2/repository/index", "POST", **{serve_triton.ADMIN_HEADER: KEY})
    assert (status, "insta_depth_stream" in text) == (200, True)
    assert triton.get("/v2/logging", **{serve_triton.ADMIN_HEADER: KEY})[0] == 200


@pytest.mark.parametrize(
    "call",
    [
        "get_model_repository_index",
        "get_system_shared_memory_status",
        "get_cuda_shared_memory_status",
        "get_trace_settings",
        "get_log_settings",
    ],
)
def test_grpc_closes_it_as_well(triton, call):
    with grpc.InferenceServerClient(f"127.0.0.1:{triton.grpc_port}") as client:
        with pytest.raises(InferenceServerException, match="restricted"):
            getattr(client, call)()
        if "cuda" not in call:  # which this build of Triton is without
            getattr(client, call)(headers={GRPC_HEADER: KEY})


def test_health_metadata_and_metrics_stay_open(triton):
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/insta_depth_stream", "/v2/models/stats"):
        assert triton.get(path)[0] == 200, path
    assert in_flight(triton) == 0


def test_alive_says_nothing_of_a_server_that_works(triton):
    assert run("alive.py", "--port", triton.http_port)[:2] == (0, "")


def test_asking_whether_it_is_alive_counts_as_no_request(triton):
    page = f"http://127.0.0.1:{triton.metrics_port}/metrics"
    before = metric(page, "insta_depth_requests_total")
    run("alive.py", "--port", triton.http_port)
    assert metric(page, "insta_depth_requests_total") == before


def test_a_full_server_is_alive_and_drain_waits_for_it(triton, ask):
    outcomes: list[object] = []
    threads = [start(triton, ask | {"num_inference_steps": 40}, outcomes) for _ in range(10)]
    try:
        wait_until(lambda: in_flight(triton) == 8, timeout_s=20)
        assert run("alive.py", "--port", triton.http_port)[:2] == (0, "")
        status, said, took_s = run("drain.py", "--port", triton.metrics_port, "--timeout-s", 0.5, "--quiet-s", 0.3)
        assert (status, "given up" in said) == (0, True), said
        assert 0.5 <= took_s < 5
        status, said, _ = run("drain.py", "--port", triton.metrics_port, "--timeout-s", 300, "--quiet-s", 0.3)
        assert (status, "nothing in flight" in said) == (0, True), said
        assert in_flight(triton) == 0
    finally:
        for thread in threads:
            thread.join()
    assert any(isinstance(outcome, Overloaded) for outcome in outcomes)  # it was full indeed


def test_drain_returns_at_once_where_nothing_is_in_flight(triton):
    status, said, took_s = run("drain.py", "--port", triton.metrics_port, "--quiet-s", 0.3)
    assert (status, "nothing in flight" in said) == (0, True), said
    assert took_s < 3


def test_drain_waits_as_long_as_it_is_told_to_however_quiet_it_is(triton):
    status, said, took_s = run("drain.py", "--port", triton.metrics_port, "--quiet-s", 0.3, "--least-s", 2)
    assert (status, "nothing in flight" in said) == (0, True), said
    assert 2 <= took_s < 5


def test_drain_returns_at_once_where_there_is_no_server(closed_port):
    status, said, took_s = run("drain.py", "--port", closed_port, "--least-s", 30)
    assert (status, "nothing to wait for" in said) == (0, True), said
    assert took_s < 3


def test_where_there_is_no_server_nothing_is_alive(closed_port):
    status, said, _ = run("alive.py", "--port", closed_port)
    assert (status, "did not answer" in said) == (1, True), said


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_that_never_answers_is_found_within_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        status, said, took_s = run("alive.py", "--port", listener.getsockname()[1], "--timeout-s", 1)
    assert (status, "did not answer within 1 s" in said) == (1, True), said
    assert took_s < 4


class Answering(http.server.BaseHTTPRequestHandler):
    """200 at ``/healthz``, whatever else elsewhere."""

    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" and self.server.is_well else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("is_well", "expected"), [(True, 0), (False, 1)])
def test_healthz_asks_the_gateway_of_its_container(monkeypatch, is_well, expected):
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as gateway:
        gateway.is_well = is_well
        threading.Thread(target=gateway.handle_request, daemon=True).start()
        monkeypatch.setenv("INSTA_DEPTH_GATEWAY_HOST", "0.0.0.0")
        monkeypatch.setenv("INSTA_DEPTH_GATEWAY_PORT", str(gateway.server_port))
        assert run("healthz.py")[0] == expected


def test_where_there_is_no_gateway_healthz_fails(monkeypatch, closed_port):
    monkeypatch.setenv("INSTA_DEPTH_GATEWAY_PORT", str(closed_port))
    assert run("healthz.py")[0] == 1


# The last two leave the server broken, and ended.


def test_the_death_of_a_process_is_found_though_triton_calls_itself_ready(triton):
    from deploy.docker.alive import unanswered

    for stub in [model_process(triton.pid, model) for model in ("face_analysis", "insta_depth_stream")]:
        os.kill(stub.pid, signal.SIGKILL)
        status, said, took_s = run("alive.py", "--port", triton.http_port, "--timeout-s", 3)
        assert (status, "has died" in said) == (1, True), said
        assert took_s < 6
        assert triton.get("/v2/health/ready")[0] == 200
    # The other way to notice it, for those who cannot see the server's processes.
    assert "insta_depth_stream" in unanswered("127.0.0.1", triton.http_port, 3)


def test_kill_ends_a_server_that_has_lost_a_process(triton):
    status, said, _ = run("alive.py", "--port", triton.http_port, "--timeout-s", 3, "--kill")
    assert (status, f"killed the server, process {triton.pid}" in said) == (1, True), said
    wait_until(lambda: not triton.is_running(), timeout_s=5)
