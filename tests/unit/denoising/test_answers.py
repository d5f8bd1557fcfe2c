"""How both models answer, with a stand-in for Triton's side."""

import asyncio
import threading
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from insta_depth_shared.answers import answer
from insta_depth_shared.background import Background
from insta_depth_shared.errors import EngineFailed, InstaDepthError, NoFace, Overloaded

FINAL = 1


class TritonError:
    """Keeps a text and one of Triton's codes."""

    INVALID_ARG, UNAVAILABLE, CANCELLED, INTERNAL = "INVALID_ARG", "UNAVAILABLE", "CANCELLED", "INTERNAL"

    def __init__(self, text: str, code: str) -> None:
        self.text, self.code = text, code


class Sender:
    """Keeps what was sent, or fails as for a client that is gone."""

    def __init__(self, is_gone: bool = False) -> None:
        self.sent: list[tuple[Any, int]] = []
        self._is_gone = is_gone

    def send(self, response: Any = None, flags: int = 0) -> None:
        if self._is_gone:
            raise RuntimeError("the client is gone")
        self.sent.append((response, flags))


PB_UTILS = SimpleNamespace(
    TRITONSERVER_RESPONSE_COMPLETE_FINAL=FINAL,
    TritonError=TritonError,
    InferenceResponse=lambda error: error,
)


async def raising(error: BaseException) -> None:
    raise error


async def returning(value: Any) -> Any:
    return value


async def answered(response: Coroutine[Any, Any, Any]) -> Any:
    sender = Sender()
    await answer(PB_UTILS, sender, response)
    ((sent, flags),) = sender.sent
    assert flags == FINAL
    return sent


async def test_a_response_is_the_last_one() -> None:
    assert await answered(returning("picture")) == "picture"


async def test_a_stream_can_end_without_a_response() -> None:
    assert await answered(returning(None)) is None


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (NoFace("face_image: none"), "[NO_FACE] face_image: none", "INVALID_ARG"),
        (Overloaded("later"), "[OVERLOADED] later", "UNAVAILABLE"),
        (EngineFailed("unet: no"), "[ENGINE_FAILED] unet: no", "INTERNAL"),
        (InstaDepthError("hm"), "[INTERNAL] hm", "INTERNAL"),
        (KeyError("x"), "[INTERNAL] KeyError: 'x'", "INTERNAL"),
        (asyncio.CancelledError(), "[CANCELLED] the server is shutting down", "CANCELLED"),
    ],
)
async def test_every_error_is_an_answer(error: BaseException, text: str, code: str) -> None:
    sent = await answered(raising(error))
    assert (sent.text, sent.code) == (text, code)


async def test_a_client_that_is_gone_is_nobody_else_s_trouble() -> None:
    await answer(PB_UTILS, Sender(is_gone=True), returning("picture"))


def test_requests_in_the_background_run_side_by_side() -> None:
    background = Background("test", max_threads=4)
    together = threading.Barrier(3, timeout=5)

    async def meet() -> None:
        await asyncio.to_thread(together.wait)

    for _ in range(2):
        background.start(meet())
    together.wait()
    background.stop(timeout_s=1)


def test_stopping_ends_what_still_runs() -> None:
    background = Background("test", max_threads=1)
    sender = Sender()
    background.start(answer(PB_UTILS, sender, asyncio.sleep(60)))
    background.stop(timeout_s=5)
    assert [response.text for response, _ in sender.sent] == ["[CANCELLED] the server is shutting down"]
