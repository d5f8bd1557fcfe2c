"""The client against real Triton with a toy in the orchestrator's place."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import pytest
from insta_depth import (
    AsyncInstaDepth,
    Cancelled,
    CancelToken,
    DeadlineExceeded,
    InstaDepth,
    NoFace,
    Overloaded,
    Progress,
    ServerUnavailable,
)
from insta_depth._grpc import GrpcTransport

from deploy.local.server import LocalTriton, Options
from tests.triton import toy_stream
from tests.watching import wait_until

FREE_PORTS = Options(http_port=0, grpc_port=0, metrics_port=0)


class Pictures(TypedDict):
    """The attributes that every test leaves as they are."""

    face_image: bytes
    pose_image: bytes
    seed: int


PICTURES: Pictures = {"face_image": b"a face", "pose_image": b"a pose", "seed": 1}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_stream.make(tmp_path_factory.mktemp("stream"))


@pytest.fixture(scope="module")
def toy(repository: Path) -> Iterator[LocalTriton]:
    with LocalTriton(repository, FREE_PORTS) as running:
        yield running


@pytest.fixture
def mortal(repository: Path) -> Iterator[LocalTriton]:
    """A server of its own for a test that breaks it."""
    with LocalTriton(repository, FREE_PORTS) as running:
        yield running


def test_progress_comes_while_the_picture_is_made(toy: LocalTriton) -> None:
    times: list[float] = []
    with InstaDepth(toy.grpc_url) as client:
        client.generate(
            prompt="a", num_inference_steps=4, on_progress=lambda _: times.append(time.monotonic()), **PICTURES
        )
    assert len(times) == 4
    assert times[-1] - times[0] > 2 * toy_stream.STEP_S


def test_errors_arrive_as_their_classes(toy: LocalTriton) -> None:
    with InstaDepth(toy.grpc_url) as client:
        with pytest.raises(NoFace, match=r"^face_image: no face$"):
            client.generate(prompt="[NO_FACE] face_image: no face", **PICTURES)
        with pytest.raises(Overloaded):
            client.generate(prompt="[OVERLOADED] 8 requests are in flight", **PICTURES)


def test_a_token_stops_its_own_request_within_a_step(toy: LocalTriton, repository: Path) -> None:
    token = CancelToken()

    def at_step_2(progress: Progress) -> None:
        if progress.step == 2:
            token.cancel()

    with InstaDepth(toy.grpc_url) as client, ThreadPoolExecutor(1) as pool:
        other = pool.submit(client.generate, prompt="other", num_inference_steps=6, **PICTURES)
        with pytest.raises(Cancelled):
            client.generate(prompt="token", num_inference_steps=50, on_progress=at_step_2, cancel=token, **PICTURES)
        assert other.result(10).image == b"picture"
    assert noticed(repository, "token") <= 4


def test_a_deadline_stops_the_request_on_the_server(toy: LocalTriton, repository: Path) -> None:
    with InstaDepth(toy.grpc_url) as client, pytest.raises(DeadlineExceeded):
        client.generate(prompt="deadline", num_inference_steps=50, deadline_s=0.35, **PICTURES)
    assert noticed(repository, "deadline") <= 5


async def test_cancelling_a_task_stops_the_request_on_the_server(toy: LocalTriton, repository: Path) -> None:
    async with AsyncInstaDepth(toy.grpc_url) as client:
        task = asyncio.create_task(client.generate(prompt="task", num_inference_steps=50, **PICTURES))
        await asyncio.sleep(0.35)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(noticed, repository, "task") <= 5


def test_a_killed_server_is_an_error_at_once(mortal: LocalTriton) -> None:
    def kill(progress: Progress) -> None:
        if progress.step == 1:
            os.kill(mortal.pid, signal.SIGKILL)

    with InstaDepth(mortal.grpc_url) as client, pytest.raises(ServerUnavailable):
        client.generate(prompt="a", num_inference_steps=100, on_progress=kill, deadline_s=20, **PICTURES)


def test_a_model_whose_process_dies_is_an_error(mortal: LocalTriton) -> None:
    transport = GrpcTransport(mortal.grpc_url, silence_s=1)
    with InstaDepth(transport=transport) as client, pytest.raises(ServerUnavailable):
        client.generate(prompt="die", num_inference_steps=5, deadline_s=20, **PICTURES)


def noticed(repository: Path, prompt: str) -> int:
    """Wait until the model has noticed that a request was cancelled; return at which step."""
    wait_until(lambda: prompt in toy_stream.cancelled_at(repository))
    return toy_stream.cancelled_at(repository)[prompt]
