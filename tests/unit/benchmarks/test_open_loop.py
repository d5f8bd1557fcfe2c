"""Requests are sent when they are due, and latencies count from then."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest

from benchmarks.open_loop import STEPS, Answered, Arrival, Ask, arrivals, percentiles, send


class Server:
    """Answers after ``took_s``; ``most`` requests were in it at once."""

    def __init__(self, took_s: float) -> None:
        self.took_s, self.most, self.now = took_s, 0, 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Ask]:
        async def ask(attributes: Mapping[str, Any]) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(self.took_s)
            self.now -= 1

        yield ask


def test_arrivals_are_poissons_of_one_a_second_and_the_same_for_the_same_seed() -> None:
    planned = list(arrivals(4000, seed=1))
    gaps_s = [arrival.gap_s for arrival in planned]
    assert fmean(gaps_s) == pytest.approx(1, rel=0.05)
    assert fmean(gap > 1 for gap in gaps_s) == pytest.approx(0.368, abs=0.03)
    assert {arrival.attributes["num_inference_steps"] for arrival in planned} == set(STEPS)
    assert planned == list(arrivals(4000, seed=1)) != list(arrivals(4000, seed=2))


def test_eight_are_at_the_server_and_those_in_line_count_from_when_they_were_due() -> None:
    server = Server(took_s=0.2)
    answered = send(server.connect, [Arrival(0, {})] * 20, per_s=1)
    assert server.most == 8
    assert sorted(answered.latencies_s) == pytest.approx([0.2] * 8 + [0.4] * 8 + [0.6] * 4, abs=0.15)
    assert answered.span_s == pytest.approx(0.6, abs=0.15)


def test_an_answer_that_takes_long_does_not_hold_back_who_comes_next() -> None:
    server = Server(took_s=1.0)
    answered = send(server.connect, [Arrival(0.1, {})] * 5, per_s=1)
    assert server.most == 5
    assert answered.latencies_s == pytest.approx([1] * 5, abs=0.15)


def test_percentiles_and_pictures_in_time() -> None:
    answered = Answered([each / 100 for each in range(101)], span_s=10)
    assert percentiles(answered.latencies_s) == pytest.approx(
        {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}
    )
    assert answered.percentiles()["mean_s"] == pytest.approx(0.5)
    assert answered.goodput_per_s(limit_s=0.495) == pytest.approx(5.0)
    values = list(answered.percentiles().values())
    assert all(float(low) < float(high) for low, high in pairwise(values[:4]))
