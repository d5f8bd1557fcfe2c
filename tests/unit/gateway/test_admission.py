import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from insta_depth_gateway.admission import AdmissionQueue
from insta_depth_gateway.errors import Busy


class Guests:
    """Requests that hold their turn until they are let go; ``served`` has their names in the order of their turns."""

    def __init__(self, queue: AdmissionQueue) -> None:
        self.queue, self.served, self.doors = queue, list[str](), dict[str, asyncio.Event]()

    async def come(self, name: str, key: str = "me") -> "asyncio.Task[None]":
        self.doors[name] = asyncio.Event()
        task = asyncio.create_task(self._visit(name, key))
        await settle()
        return task

    async def _visit(self, name: str, key: str) -> None:
        async with self.queue.slot(key):
            self.served.append(name)
            await self.doors[name].wait()

    def leave(self, name: str) -> None:
        self.doors[name].set()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def ended_empty(queue: AdmissionQueue) -> AsyncIterator[Guests]:
    guests = Guests(queue)
    yield guests
    for name in guests.doors:
        guests.leave(name)
        await settle()
    assert (queue.in_flight, queue.waiting) == (0, 0)


async def test_only_so_many_work_and_the_rest_wait() -> None:
    queue = AdmissionQueue(2, 5, 1)
    async with ended_empty(queue) as guests:
        for name in "abc":
            await guests.come(name)
        assert guests.served == ["a", "b"]
        assert (queue.in_flight, queue.waiting) == (2, 1)


async def test_first_come_first_served() -> None:
    async with ended_empty(AdmissionQueue(1, 5, 1)) as guests:
        for name in "abcd":
            await guests.come(name)
        for name in "abc":
            guests.leave(name)
            await settle()
        assert guests.served == list("abcd")


async def test_a_key_with_many_waiting_delays_another_s_single_request_by_one_turn() -> None:
    async with ended_empty(AdmissionQueue(1, 300, 60)) as guests:
        many = [f"many{number}" for number in range(200)]
        for name in many:
            await guests.come(name, key="many")
        await guests.come("single", key="single")
        for name in (*many[:2], "single"):
            guests.leave(name)
            await settle()
        assert guests.served == [*many[:2], "single", many[2]]


async def test_keys_take_turns() -> None:
    async with ended_empty(AdmissionQueue(1, 9, 60)) as guests:
        names = ["a1", "a2", "a3", "b1", "b2", "c1", "a4"]
        for name in names:
            await guests.come(name, key=name[0])
        for name in ("a1", "a2", "b1", "c1", "a3", "b2"):
            guests.leave(name)
            await settle()
        assert guests.served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_who_comes_as_a_turn_ends_does_not_overtake() -> None:
    async with ended_empty(AdmissionQueue(1, 5, 1)) as guests:
        await guests.come("a")
        await guests.come("b")
        guests.leave("a")
        await guests.come("c")
        assert guests.served == ["a", "b"]


async def test_a_full_line_turns_away_at_once_and_names_its_limit() -> None:
    queue = AdmissionQueue(1, 1, 60)
    async with ended_empty(queue) as guests:
        await guests.come("a")
        await guests.come("b")
        with pytest.raises(Busy, match="1 requests are at work and 1 wait"):
            await asyncio.wait_for(queue.slot("me").__aenter__(), 0.5)


async def test_nobody_waits_in_a_line_of_no_length() -> None:
    async with ended_empty(AdmissionQueue(1, 0, 60)) as guests:
        await guests.come("a")
        with pytest.raises(Busy):
            await (await guests.come("b"))


async def test_waiting_ends_after_the_limit() -> None:
    queue = AdmissionQueue(1, 1, 0.05)
    async with ended_empty(queue) as guests:
        await guests.come("a")
        late = await guests.come("b")
        with pytest.raises(Busy, match=r"0\.05 s"):
            await asyncio.wait_for(late, 1)
        assert queue.waiting == 0
        await guests.come("c")
        guests.leave("a")
        await settle()
        assert guests.served == ["a", "c"]


async def test_a_waiter_that_is_cancelled_is_skipped() -> None:
    queue = AdmissionQueue(1, 2, 1)
    async with ended_empty(queue) as guests:
        await guests.come("a")
        quitter = await guests.come("b")
        await guests.come("c")
        quitter.cancel()
        assert queue.waiting == 1
        guests.leave("a")
        await settle()
        assert guests.served == ["a", "c"]


async def test_a_waiter_that_is_cancelled_makes_room_at_once() -> None:
    queue = AdmissionQueue(1, 1, 1)
    async with ended_empty(queue) as guests:
        await guests.come("a")
        (await guests.come("b")).cancel()
        await guests.come("c")
        assert queue.waiting == 1


async def test_a_waiter_cancelled_in_the_tick_of_its_turn_passes_the_turn_on() -> None:
    queue = AdmissionQueue(1, 2, 1)
    async with ended_empty(queue) as guests:
        held = queue.slot("me")
        await held.__aenter__()
        quitter = await guests.come("b")
        await guests.come("c")
        await held.__aexit__(None, None, None)
        quitter.cancel()
        await settle()
        assert quitter.cancelled()
        assert guests.served == ["c"]


async def test_a_turn_that_comes_in_the_tick_of_a_cancellation_goes_to_the_next() -> None:
    queue = AdmissionQueue(1, 2, 1)
    async with ended_empty(queue) as guests:
        held = queue.slot("me")
        await held.__aenter__()
        quitter = await guests.come("b")
        await guests.come("c")
        quitter.cancel()
        await held.__aexit__(None, None, None)
        await settle()
        assert guests.served == ["c"]


async def test_an_error_in_the_block_frees_the_turn() -> None:
    queue = AdmissionQueue(1, 0, 1)
    with pytest.raises(ZeroDivisionError):
        async with queue.slot("me"):
            raise ZeroDivisionError
    async with queue.slot("me"):
        assert queue.in_flight == 1
    assert queue.in_flight == 0


@pytest.mark.parametrize("seed", range(20))
async def test_no_turn_is_lost_under_random_cancellation(seed: int) -> None:
    chance, queue, most = random.Random(seed), AdmissionQueue(3, 10, 0.003), 0

    async def visit() -> None:
        nonlocal most
        async with queue.slot("me"):
            most = max(most, queue.in_flight)
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(chance.choice((0, 0, 0.001)))
            if chance.random() < 0.1:
                raise ZeroDivisionError

    async def come_and_go() -> None:
        task = asyncio.create_task(visit())
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(chance.choice((0, 0, 0.001)))
        if chance.random() < 0.5:
            task.cancel()
        with suppress(asyncio.CancelledError, Busy, ZeroDivisionError):
            await task

    for _ in range(10):
        await asyncio.gather(*(come_and_go() for _ in range(20)))
    assert (queue.in_flight, queue.waiting) == (0, 0)
    assert most == 3
