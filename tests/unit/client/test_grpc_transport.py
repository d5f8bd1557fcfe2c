"""The real transports against a look-alike of Triton in this process."""

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from insta_depth import (
    AsyncInstaDepth,
    Cancelled,
    CancelToken,
    DeadlineExceeded,
    Generation,
    InstaDepth,
    InstaDepthError,
    InvalidInput,
    NoFace,
    Progress,
    ServerUnavailable,
)
from insta_depth._grpc import AsyncGrpcTransport, GrpcTransport

from tests.unit.client.conftest import PICTURES
from tests.unit.client.triton_lookalike import JPEG, TritonLookalike

EXPECTED = Generation(image=JPEG, seed=10**14, timings={"total": 2.5}, pose_face=False)


def test_the_request_arrives_as_it_was_asked(server: TritonLookalike) -> None:
    with InstaDepth(server.url) as client:
        client.generate(prompt="a wömän", num_inference_steps=4, **PICTURES)
    assert server.received == [
        {
            "face_image": ("BYTES", b"a face"),
            "pose_image": ("BYTES", b"a pose"),
            "prompt": ("BYTES", "a wömän".encode()),
            "num_inference_steps": ("INT32", b"\4\0\0\0"),
            "base64": ("BOOL", b"\0"),
        }
    ]


def test_progress_and_picture_come_back(server: TritonLookalike) -> None:
    seen: list[Progress] = []
    with InstaDepth(server.url) as client:
        assert client.generate(prompt="x", on_progress=seen.append, **PICTURES) == EXPECTED
    assert seen == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]


def test_a_coded_error_is_raised_as_its_class(server: TritonLookalike) -> None:
    with InstaDepth(server.url) as client, pytest.raises(NoFace, match=r"^pose_image: no face was found$"):
        client.generate(prompt="[NO_FACE] pose_image: no face was found", **PICTURES)


def test_a_token_cancels_the_request_on_the_server(server: TritonLookalike) -> None:
    token = CancelToken()
    with InstaDepth(server.url) as client, pytest.raises(Cancelled):
        client.generate(prompt="slow", cancel=token, on_progress=lambda _: token.cancel(), **PICTURES)
    assert server.cancelled.wait(2)


def test_leaving_the_stream_cancels_the_request_on_the_server(server: TritonLookalike) -> None:
    with InstaDepth(server.url) as client:
        events = client.stream(prompt="slow", **PICTURES)
        next(events)
        events.close()
        assert server.cancelled.wait(2)


def test_the_deadline_ends_the_request(server: TritonLookalike) -> None:
    started_s = time.monotonic()
    with InstaDepth(server.url) as client, pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
        client.generate(prompt="slow", deadline_s=0.3, **PICTURES)
    assert 0.2 < time.monotonic() - started_s < 2
    assert server.cancelled.wait(2)


def test_the_clients_timeout_is_the_deadline_of_requests_without_one(server: TritonLookalike) -> None:
    with InstaDepth(server.url, timeout_s=0.3) as client, pytest.raises(DeadlineExceeded):
        client.generate(prompt="slow", **PICTURES)


def test_a_server_that_goes_away_in_the_middle_is_an_error(server: TritonLookalike) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 1:
            threading.Thread(target=server.stop).start()

    with InstaDepth(server.url) as client, pytest.raises((ServerUnavailable, Cancelled)):
        client.generate(prompt="slow", on_progress=stop, deadline_s=10, **PICTURES)


def test_a_model_whose_process_died_is_noticed(server: TritonLookalike) -> None:
    server.alive = False
    transport = GrpcTransport(server.url, silence_s=0.1)
    with InstaDepth(transport=transport) as client, pytest.raises(ServerUnavailable, match="not healthy"):
        client.generate(prompt="silent", deadline_s=10, **PICTURES)
    assert server.cancelled.wait(2)


def test_a_model_that_is_silent_but_alive_is_waited_for(server: TritonLookalike) -> None:
    transport = GrpcTransport(server.url, silence_s=0.05)
    with InstaDepth(transport=transport) as client, pytest.raises(DeadlineExceeded):
        client.generate(prompt="silent", deadline_s=0.5, **PICTURES)


def test_an_answer_without_a_picture_is_an_error(server: TritonLookalike) -> None:
    with InstaDepth(server.url) as client, pytest.raises(InstaDepthError, match="without a picture"):
        client.generate(prompt="cut", **PICTURES)


def test_nobody_at_the_address_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
    with InstaDepth(url) as client, pytest.raises(ServerUnavailable, match=url):
        client.generate(prompt="x", **PICTURES)


def test_a_web_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"url: 'http://127\.0\.0\.1:8000' is not host:port"):
        InstaDepth("http://127.0.0.1:8000")


def test_threads_share_a_client_and_cancel_alone(server: TritonLookalike) -> None:
    token = CancelToken()
    with InstaDepth(server.url) as client, ThreadPoolExecutor(4) as pool:
        stopped = pool.submit(client.generate, prompt="slow", cancel=token, **PICTURES)
        others = [pool.submit(client.generate, prompt="x", **PICTURES) for _ in range(3)]
        others[0].result(5)
        token.cancel()
        assert type(stopped.exception(5)) is Cancelled
        assert [other.result(5) for other in others] == [EXPECTED] * 3


def test_a_large_picture_passes(server: TritonLookalike) -> None:
    with InstaDepth(server.url) as client:
        client.generate(prompt="x", face_image=bytes(20 * 2**20), pose_image=bytes(20 * 2**20))
    assert len(server.received[0]["face_image"][1]) == 20 * 2**20


def test_the_status_names_the_models_that_are_ready(server: TritonLookalike) -> None:
    with InstaDepth(server.url) as client:
        assert client.status().ready
        server.ready = False
        assert client.status().models == {"insta_depth_stream": False, "insta_depth": False}


def test_the_status_sees_a_dead_process_behind_a_model_that_says_it_is_ready(server: TritonLookalike) -> None:
    server.alive = False
    with InstaDepth(server.url) as client:
        assert client.status().models == {"insta_depth_stream": False, "insta_depth": True}


async def test_async_requests_run_side_by_side(server: TritonLookalike) -> None:
    async with AsyncInstaDepth(server.url) as client:
        answers = await asyncio.gather(*(client.generate(prompt="x", **PICTURES) for _ in range(3)))
        assert answers == [EXPECTED] * 3
        assert (await client.status()).ready


async def test_the_async_client_notices_a_dead_process(server: TritonLookalike) -> None:
    server.alive = False
    transport = AsyncGrpcTransport(server.url, silence_s=0.1)
    async with AsyncInstaDepth(transport=transport) as client:
        with pytest.raises(ServerUnavailable, match="not healthy"):
            await client.generate(prompt="silent", deadline_s=10, **PICTURES)
        assert not (await client.status()).ready


async def test_cancelling_the_task_cancels_the_request_on_the_server(server: TritonLookalike) -> None:
    started = asyncio.Event()
    async with AsyncInstaDepth(server.url) as client:
        asked = client.generate(prompt="slow", on_progress=lambda _: started.set(), **PICTURES)
        task = asyncio.create_task(asked)
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.cancelled.wait, 2)


@pytest.mark.parametrize(("prompt", "error"), [("[NO_FACE] face_image: none", NoFace), ("slow", DeadlineExceeded)])
async def test_async_errors_are_the_same(server: TritonLookalike, prompt: str, error: type[Exception]) -> None:
    async with AsyncInstaDepth(server.url) as client:
        with pytest.raises(error):
            await client.generate(prompt=prompt, deadline_s=0.3, **PICTURES)


async def test_servers_behind_one_name_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [TritonLookalike(), TritonLookalike()]
    addresses = "ipv4:" + ",".join(server.url for server in servers)
    monkeypatch.setattr("insta_depth._grpc._checked", lambda url: url)
    try:
        async with AsyncInstaDepth(addresses) as client:
            for _ in range(8):
                await client.generate(prompt="x", **PICTURES)
        assert all(len(server.received) >= 3 for server in servers), [len(server.received) for server in servers]
    finally:
        for server in servers:
            server.stop()
