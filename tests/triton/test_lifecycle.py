"""Cancelling, dying, overload, and the death of the orchestrator itself."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from insta_depth import (
    Cancelled,
    CancelToken,
    DeadlineExceeded,
    InstaDepth,
    InstaDepthError,
    Overloaded,
    ServerUnavailable,
)

from benchmarks.soak.processes import model_process
from tests.watching import metric, wait_until

LONG = 100


@pytest.fixture
def ask(face, pose):
    """Keyword arguments of a long request."""
    return dict(face_image=face, pose_image=pose, prompt="a woman", num_inference_steps=LONG, seed=1)


def in_flight(server):
    return metric(server.metrics_url, "insta_depth_requests_in_flight")


def test_cancelling_ends_the_work_within_a_step_or_two(server, client, ask):
    token, seen = CancelToken(), []

    def cancel_at_third(progress):
        seen.append(progress.step)
        if progress.step == 3:
            token.cancel()

    with pytest.raises(Cancelled):
        client.generate(**ask, on_progress=cancel_at_third, cancel=token)
    assert max(seen) < 10
    wait_until(lambda: in_flight(server) == 0, timeout_s=5)


def test_a_deadline_ends_the_work(server, client, ask):
    with pytest.raises(DeadlineExceeded):
        client.generate(**ask, deadline_s=0.5)
    wait_until(lambda: in_flight(server) == 0, timeout_s=5)


def test_a_client_that_dies_leaves_nothing_behind(server, client, ask, tmp_path):
    for name in ("face", "pose"):
        (tmp_path / name).write_bytes(ask[f"{name}_image"])
    command = [sys.executable, "-m", "insta_depth", "generate", "--face", str(tmp_path / "face"), "--pose"]
    command += [str(tmp_path / "pose"), "--prompt", "a woman", "--num-inference-steps", str(LONG)]
    dying = subprocess.Popen([*command, "--url", server.grpc_url, "-o", str(tmp_path / "out.jpg")])
    try:
        wait_until(lambda: in_flight(server) == 1, timeout_s=20)
    finally:
        dying.kill()
        dying.wait()
    wait_until(lambda: in_flight(server) == 0, timeout_s=5)
    assert client.generate(**ask | {"num_inference_steps": 4}).image


def test_more_requests_than_the_limit_are_refused_at_once(server, ask):
    from tests.conftest import MAX_REQUESTS

    outcomes, lock = [], threading.Lock()

    def one():
        with InstaDepth(server.grpc_url, timeout_s=120) as client:
            try:
                outcome = client.generate(**ask | {"num_inference_steps": 30})
            except InstaDepthError as error:
                outcome = error
        with lock:
            outcomes.append(outcome)

    threads = [threading.Thread(target=one) for _ in range(MAX_REQUESTS + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert len(refused) == 4
    assert str(MAX_REQUESTS) in str(refused[0])
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == MAX_REQUESTS


def test_the_orchestrators_death_is_an_error_to_its_client_and_nothing_to_the_next(server, client, ask):
    killed = threading.Event()

    def kill_once(progress):
        if progress.step == 2 and not killed.is_set():
            killed.set()
            os.kill(model_process(server.pid, "insta_depth_stream").pid, signal.SIGKILL)

    with pytest.raises(InstaDepthError):
        client.generate(**ask, on_progress=kill_once, deadline_s=60)
    assert killed.is_set()
    # The next request waits for the server; with other tests beside it, longer than a client's patience.
    wait_until(lambda: answers(client), timeout_s=300)
    assert client.generate(**ask | {"num_inference_steps": 4}, deadline_s=60).image


def answers(client: InstaDepth) -> bool:
    try:
        return client.status().ready
    except ServerUnavailable:
        return False
