import pytest
from insta_depth import (
    AsyncInstaDepth,
    Cancelled,
    CancelToken,
    Generation,
    InstaDepth,
    InstaDepthError,
    InvalidInput,
    NoFace,
    Progress,
)
from insta_depth._request import RequiredAttributes
from insta_depth.testing import PICTURE, AsyncFakeTransport, FakeTransport

from tests.unit.client.conftest import PICTURES

ASKED: RequiredAttributes = {**PICTURES, "prompt": "a woman"}


def test_generate_reports_every_step_and_returns_the_picture() -> None:
    seen: list[Progress] = []
    generation = InstaDepth(transport=FakeTransport(steps=3)).generate(on_progress=seen.append, seed=5, **ASKED)
    assert seen == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]
    assert generation == Generation(image=PICTURE, seed=5, timings={"total": 1.0}, pose_face=True)


def test_stream_ends_with_the_generation() -> None:
    events = list(InstaDepth(transport=FakeTransport(steps=2)).stream(preview=True, **ASKED))
    assert events[0] == Progress(1, 2, PICTURE)
    assert [type(event) for event in events] == [Progress, Progress, Generation]


def test_a_malformed_attribute_is_refused_before_anything_is_sent() -> None:
    transport = FakeTransport()
    with pytest.raises(InvalidInput):
        InstaDepth(transport=transport).stream(seed="seven", **ASKED)  # type: ignore[arg-type]
    assert transport.requests == []


def test_the_servers_error_is_raised() -> None:
    with pytest.raises(NoFace):
        InstaDepth(transport=FakeTransport(error=NoFace("face_image: no face"))).generate(**ASKED)


def test_what_the_callback_raises_cancels_the_request() -> None:
    def refuse(progress: Progress) -> None:
        raise KeyError(progress.step)

    transport = FakeTransport()
    with pytest.raises(KeyError, match="1"):
        InstaDepth(transport=transport).generate(on_progress=refuse, **ASKED)
    assert transport.cancelled == 1


def test_leaving_a_stream_early_cancels_the_request() -> None:
    transport = FakeTransport()
    events = InstaDepth(transport=transport).stream(**ASKED)
    next(events)
    events.close()
    assert transport.cancelled == 1


def test_a_token_cancels_between_steps() -> None:
    token, transport = CancelToken(), FakeTransport()
    with pytest.raises(Cancelled):
        InstaDepth(transport=transport).generate(cancel=token, on_progress=lambda _: token.cancel(), **ASKED)
    assert transport.cancelled == 1


class Silent(FakeTransport):
    """Ends without a word, after a response that says nothing."""

    def stream(self, *_: object):  # type: ignore[no-untyped-def, override]
        yield {}


def test_a_stream_without_a_picture_is_an_error() -> None:
    with pytest.raises(InstaDepthError, match="without a picture"):
        InstaDepth(transport=Silent()).generate(**ASKED)


async def test_the_async_client_reports_every_step_and_returns_the_picture() -> None:
    seen: list[Progress] = []
    async with AsyncInstaDepth(transport=AsyncFakeTransport(steps=2)) as client:
        generation = await client.generate(on_progress=seen.append, **ASKED)
    assert seen == [Progress(1, 2), Progress(2, 2)]
    assert generation.image == PICTURE


async def test_the_async_stream_ends_with_the_generation() -> None:
    client = AsyncInstaDepth(transport=AsyncFakeTransport(steps=2))
    assert [type(event) async for event in client.stream(**ASKED)] == [Progress, Progress, Generation]


async def test_the_async_client_raises_the_servers_error() -> None:
    client = AsyncInstaDepth(transport=AsyncFakeTransport(error=NoFace("face_image: no face")))
    with pytest.raises(NoFace):
        await client.generate(**ASKED)
