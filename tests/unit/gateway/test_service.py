"""A picture for credits, over a transport without a server and accounts in a file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from insta_depth import (
    AsyncInstaDepth,
    Capabilities,
    InvalidInput,
    NoFace,
    Overloaded,
    Progress,
    ServerUnavailable,
)
from insta_depth.testing import PICTURE, AsyncFakeTransport
from insta_depth_gateway.accounts import Account, Ledger, connect, migrate
from insta_depth_gateway.accounts.asynchronous import AsyncLedger
from insta_depth_gateway.accounts.schema import HELD, Reservation
from insta_depth_gateway.errors import AccountsUnavailable, Busy, NotEnoughCredits, Unauthorized
from insta_depth_gateway.observability import Metrics
from insta_depth_gateway.service import GenerationService, Picture
from insta_depth_gateway.settings import Settings
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

ASKED = {"face_image": b"a face", "pose_image": b"a pose", "prompt": "a woman", "num_inference_steps": 4}
PRICE = Decimal("1.4")


class Bench:
    """A service, what it is made of, and one account with 10 credits."""

    def __init__(self, folder: Path, transport: AsyncFakeTransport, **settings: Any) -> None:
        self.engine = engine = connect(f"sqlite:///{folder / 'accounts.db'}")
        migrate(engine)
        self.transport = transport
        self.ledger = Ledger(engine, lease_s=60)
        self.account, self.secret = self.ledger.create_key("me", Decimal(10))
        self.accounts = AsyncLedger(self.ledger, is_single_writer=True)
        client = AsyncInstaDepth(transport=transport)
        self.service = GenerationService(Settings(**settings), self.accounts, client, Metrics())

    def books(self) -> tuple[Decimal, Decimal, Decimal]:
        (summary,) = self.ledger.summaries()
        return summary.balance, summary.held, summary.spent


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, AsyncFakeTransport())
    yield made
    await made.service.close()
    made.accounts.close()


async def test_a_stream_ends_with_the_picture_and_is_paid_for_when_resumed(bench):
    async with aclosing(bench.service.stream(bench.account, ASKED)) as events:
        steps = [await anext(events) for _ in range(4)]
        assert all(isinstance(step, Progress) for step in steps)
        picture = await anext(events)
        assert isinstance(picture, Picture)
        assert (picture.generation.image, picture.cost, picture.remaining) == (PICTURE, PRICE, 10 - PRICE)
        assert bench.books() == (10 - PRICE, PRICE, 0)
        assert await anext(events, None) is None
    assert bench.books() == (10 - PRICE, 0, PRICE)


async def test_a_reservation_that_was_lost_meanwhile_is_taken_again_or_no_picture_is_sent(bench):
    for spent_elsewhere, is_sent in ((Decimal(0), True), (Decimal("8.6"), False)):
        async with aclosing(bench.service.stream(bench.account, ASKED)) as events:
            for _ in range(4):
                await anext(events)
            assert bench.ledger.give_back(held_by(bench))
            if spent_elsewhere:
                bench.ledger.reserve(bench.account, spent_elsewhere, "another")
            if is_sent:
                assert isinstance(await anext(events), Picture)
                assert await anext(events, None) is None
            else:
                with pytest.raises(NotEnoughCredits):
                    await anext(events)
    assert bench.books() == (0, Decimal("8.6"), PRICE)


def held_by(bench: Bench) -> str:
    """The id of the only reservation that is held."""
    with bench.engine.connect() as connection:
        return connection.scalars(select(Reservation.id).where(Reservation.state == HELD)).one()


@pytest.mark.parametrize("taken", [0, 1, 4, 5], ids=["nothing", "a step", "every step", "the picture"])
async def test_a_stream_closed_before_it_is_resumed_after_the_picture_costs_nothing(bench, taken):
    events = bench.service.stream(bench.account, ASKED)
    for _ in range(taken):
        await anext(events)
    await events.aclose()
    assert bench.books() == (10, 0, 0)
    assert bench.service.queue.in_flight == 0
    assert bench.transport.cancelled == (1 if 0 < taken < 5 else 0)


async def test_a_cancelled_task_costs_nothing(tmp_path):
    bench = Bench(tmp_path, Silent())

    async def ask() -> None:
        async for _ in bench.service.stream(bench.account, ASKED):
            pass

    task = asyncio.create_task(ask())
    await asyncio.wait_for(bench.transport.was_asked.wait(), 5)
    assert bench.books() == (10 - PRICE, PRICE, 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.service.close()
    assert bench.books() == (10, 0, 0)


class Silent(AsyncFakeTransport):
    """Never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = asyncio.Event()

    async def stream(self, *_: object) -> Any:
        self.was_asked.set()
        await asyncio.Event().wait()
        yield {}


async def test_a_task_cancelled_at_any_moment_leaves_nothing_held(tmp_path):
    bench = Bench(tmp_path, AsyncFakeTransport())

    async def ask() -> None:
        async with aclosing(bench.service.stream(bench.account, ASKED)) as events:
            async for _ in events:
                await asyncio.sleep(0)

    for delay_s in [number * 0.0005 for number in range(30)]:
        task = asyncio.create_task(ask())
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.wait({task})
    await bench.service.close()
    balance, held, spent = bench.books()
    assert (held, balance + spent) == (0, 10)
    assert bench.service.queue.in_flight == 0


async def test_an_error_of_the_server_costs_nothing(bench):
    bench.transport.error = NoFace("pose_image: no face found")
    with pytest.raises(NoFace):
        [event async for event in bench.service.stream(bench.account, ASKED)]
    assert bench.books() == (10, 0, 0)


async def test_what_cannot_be_sent_is_refused_before_anything_is_held(bench, monkeypatch):
    monkeypatch.setattr(bench.ledger, "reserve", lambda *_: pytest.fail("it was reserved"))
    with pytest.raises(InvalidInput, match="prompt"):
        await anext(bench.service.stream(bench.account, ASKED | {"prompt": 5}))
    assert bench.transport.requests == []


async def test_a_price_above_the_balance_is_refused_before_the_server_is_asked(bench):
    with pytest.raises(NotEnoughCredits, match="costs 11 credits, the key has 10"):
        await anext(bench.service.stream(bench.account, ASKED | {"num_inference_steps": 100}))
    assert bench.transport.requests == []


class FullAtFirst(AsyncFakeTransport):
    """Refuses ``refusals`` requests, as a server does that another gateway fills."""

    refusals = 2

    async def stream(self, *arguments: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise Overloaded("8 requests are in flight")
        async for response in super().stream(*arguments):
            yield response


async def test_a_server_that_others_fill_is_asked_again(tmp_path):
    bench = Bench(tmp_path, FullAtFirst())
    events = [event async for event in bench.service.stream(bench.account, ASKED)]
    assert isinstance(events[-1], Picture)
    assert events[-1].queue_ms > 400  # the two waits count as queue
    await bench.service.close()


async def test_a_server_that_stays_full_is_an_error_in_the_end(tmp_path):
    bench = Bench(tmp_path, FullAtFirst(), queue_timeout_s=0.3)
    bench.transport.refusals = 100
    with pytest.raises(Overloaded):
        await anext(bench.service.stream(bench.account, ASKED))
    await bench.service.close()
    assert bench.books() == (10, 0, 0)


async def test_a_full_line_costs_nothing(tmp_path):
    bench = Bench(tmp_path, AsyncFakeTransport(), max_in_flight=1, max_waiting=0)
    first = bench.service.stream(bench.account, ASKED)
    await anext(first)
    with pytest.raises(Busy):
        await anext(bench.service.stream(bench.account, ASKED))
    await first.aclose()
    await bench.service.close()
    assert bench.books() == (10, 0, 0)


@pytest.mark.parametrize("secret", [None, "", "idk_wrong", "me"])
async def test_only_a_secret_lets_in(bench, secret):
    with pytest.raises(Unauthorized):
        await bench.service.authenticate(secret)
    assert await bench.service.authenticate(bench.secret) == bench.account


async def test_a_database_that_fails_is_an_error_of_its_own(bench):
    with bench.ledger._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE reservations")
    with pytest.raises(AccountsUnavailable):
        await anext(bench.service.stream(bench.account, ASKED))


async def test_a_price_is_its_base_and_its_steps(tmp_path):
    bench = Bench(tmp_path, AsyncFakeTransport(), price_base="0.25", price_per_step="0.015")
    assert bench.service.prices.of(100) == Decimal("1.75")
    assert str(bench.service.prices.of(50)) == "1"
    assert isinstance(bench.account, Account)


@pytest.mark.parametrize(("is_refined", "cost"), [(True, PRICE + Decimal("0.1")), (False, PRICE)])
async def test_a_second_pass_is_reserved_and_paid_for_where_it_was_made(tmp_path, is_refined, cost):
    bench = Bench(tmp_path, Refining(is_refined))
    async with aclosing(bench.service.stream(bench.account, ASKED | {"refine_face": "auto"})) as events:
        await anext(events)
        assert bench.books()[1] == PRICE + Decimal("0.1"), "a step of four, at a strength of 0.4"
        *_, picture = [event async for event in events]
    assert (picture.cost, picture.remaining) == (cost, 10 - cost)
    assert bench.books() == (10 - cost, 0, cost)


class Refining(AsyncFakeTransport):
    """Says whether it made a second pass."""

    def __init__(self, is_refined: bool) -> None:
        super().__init__()
        self.is_refined = is_refined

    async def stream(self, *arguments: Any) -> Any:
        async for response in super().stream(*arguments):
            yield {**response, "refined": self.is_refined} if "image" in response else response


async def test_what_the_checkpoint_offers_is_asked_once_and_unknown_while_triton_is_away(bench, monkeypatch):
    asked = []

    async def answer() -> Capabilities:
        asked.append(len(asked))
        if len(asked) == 1:
            raise ServerUnavailable("away")
        return Capabilities(("euler", "checkpoint"), "euler")

    monkeypatch.setattr(bench.transport, "capabilities", answer)
    assert await bench.service.capabilities() == Capabilities()
    for _ in range(2):
        assert (await bench.service.capabilities()).default_scheduler == "euler"
    assert asked == [0, 1]


@pytest.mark.parametrize(("is_delivered", "books"), [(False, (10, 0, 0)), (True, (Decimal("8.6"), 0, PRICE))])
async def test_what_the_database_could_not_close_is_closed_later(bench, monkeypatch, is_delivered, books):
    def unavailable(*_: object) -> bool:
        raise OperationalError("update", {}, OSError("disk full"))

    events = bench.service.stream(bench.account, dict(ASKED))
    await anext(events)
    if is_delivered:
        async for event in events:
            if isinstance(event, Picture):
                break
    with monkeypatch.context() as full:
        full.setattr(bench.ledger, "spend" if is_delivered else "give_back", unavailable)
        with pytest.raises(AccountsUnavailable):
            await (anext(events) if is_delivered else events.aclose())
    assert bench.books()[1] == PRICE
    keeping = asyncio.create_task(bench.service.keep_leases())
    await asyncio.sleep(0.2)
    keeping.cancel()
    assert bench.books() == books
