"""Which requests the next call of ``denoise_step`` takes: those with the least work left, as many as still pay.

Requests of equal work that share every step all end last; taken in turn they end, on average, in half that time.
But a call has a part that costs the same for one row as for many, so that sharing also saves time. How much it saves
is measured.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import Protocol, TypeVar

AGEING = 0.1
"""A request can be overtaken by those that arrive before the server has done 1 / AGEING times its own work."""
TOLERANCE = 1.5
"""Share of the largest call's rows per second that a smaller one may lose, times the number in flight to the 2.5th."""
MOST_FIXED = 0.12
"""Where more than this share of a step of one request is the same for any rows, all share: who goes first then gains
less than the mistakes cost that times of a busy server lead to."""
SAMPLES = 64
"""Latest times kept of each number of rows; their median counts."""
FEWEST_SMALL, FEWEST_LARGE = 3, 8
"""Calls of one request and of several that are needed before the times are known.

The first large calls are slow where requests that arrive together still have their faces, depth and text computed.
"""
SMALL_AGAIN_CALLS, LARGE_AGAIN_CALLS = 512, 64
"""A call of one request, or of all, is made again after so many calls without one: machines change.

The small one loses the more the less a row costs, the large one hardly anything.
"""
FORGOTTEN_CALLS = 2048
"""A time does not count any more after so many later calls."""

ShapeKey = tuple[int, ...]


class Job(Protocol):
    """A request as the choice sees it."""

    @property
    def row_count(self) -> int:
        """Rows that it adds to a call."""
        ...

    @property
    def shape_key(self) -> ShapeKey:
        """Requests that agree in it can share a call."""
        ...

    @property
    def step_work(self) -> float:
        """Work of its next step, in a unit that all requests share."""
        ...

    @property
    def work_left(self) -> float:
        """Work of all its steps to come."""
        ...

    @property
    def work_before(self) -> float:
        """Work that the server had done when it arrived."""
        ...


J = TypeVar("J", bound=Job)


class CallTimes:
    """Seconds of the latest calls, by shape and number of rows."""

    def __init__(self) -> None:
        self._samples: dict[ShapeKey, dict[int, deque[tuple[int, float]]]] = defaultdict(dict)
        self._calls = 0

    def observe(self, shape_key: ShapeKey, rows: int, seconds: float) -> None:
        """Keep the time of a call."""
        self._calls += 1
        self._samples[shape_key].setdefault(rows, deque(maxlen=SAMPLES)).append((self._calls, seconds))

    def are_known(self, shape_key: ShapeKey, rows: range, fewest: int, within_calls: int) -> bool:
        """Whether ``fewest`` calls of a number in ``rows`` were measured, and one of them so lately."""
        calls = [call for count, times in self._samples[shape_key].items() if count in rows for call, _ in times]
        return len(calls) >= fewest and self._calls - max(calls) < within_calls

    def estimate_s(self, shape_key: ShapeKey, row_counts: Sequence[int]) -> list[float]:
        """Return seconds of a call for each of ``row_counts``: a line through the medians, by least squares.

        The more rows a call has, the farther its time is off: it counts the less.
        """
        measured = [(rows, median(times), len(times) / rows) for rows, times in self._remembered(shape_key)]
        weight = sum(count for _, _, count in measured)
        mean_rows = sum(rows * count for rows, _, count in measured) / weight
        mean_s = sum(seconds * count for _, seconds, count in measured) / weight
        spread = sum(count * (rows - mean_rows) ** 2 for rows, _, count in measured)
        tilt = sum(count * (rows - mean_rows) * (seconds - mean_s) for rows, seconds, count in measured)
        # Noise can tilt the line so far that a call of no rows would take less than no time.
        slope = min(max(tilt / spread if spread else 0.0, 0.0), mean_s / mean_rows)
        return [mean_s + slope * (rows - mean_rows) for rows in row_counts]

    def _remembered(self, shape_key: ShapeKey) -> Iterator[tuple[int, list[float]]]:
        oldest = self._calls - FORGOTTEN_CALLS
        for rows, samples in self._samples[shape_key].items():
            if times := [seconds for call, seconds in samples if call > oldest]:
                yield rows, times


@dataclass(frozen=True)
class Call:
    """One call of ``denoise_step``, before it is made: a step may change what its requests add to the next one."""

    shape_key: ShapeKey
    rows: int
    work: float


class Sharing:
    """Chooses each call's requests, and learns from the calls' times how many of them to take.

    ``max_rows``: the engines' limit; ``fixed_rows``: take up to so many rows, without learning; 0: learn.
    ``times``: what is known of the calls' times.
    """

    def __init__(self, max_rows: int, fixed_rows: int = 0, times: CallTimes | None = None) -> None:
        self._max_rows, self._fixed_rows = max_rows, fixed_rows
        self.times = times or CallTimes()
        self.work_done = 0.0

    def ordered(self, jobs: Sequence[J]) -> list[J]:
        """Return ``jobs`` with the next one first: least work left, later arrivals being held back by `AGEING`."""
        return sorted(jobs, key=lambda job: job.work_left + AGEING * job.work_before)

    def next_call(self, ordered: Sequence[J]) -> list[J]:
        """Return the requests of the next call: the first, and those after it that fit and pay.

        ``ordered``: all requests in flight, at least one, from `ordered`.
        """
        alike = [job for job in ordered if job.shape_key == ordered[0].shape_key]
        sums = list(accumulate(job.row_count for job in alike))
        limit = min(self._fixed_rows or self._max_rows, self._max_rows)
        sums = [rows for rows in sums if rows <= limit] or sums[:1]
        return alike[: len(sums) if self._fixed_rows else self._paying(ordered[0].shape_key, sums, len(ordered))]

    def _paying(self, shape_key: ShapeKey, sums: Sequence[int], in_flight: int) -> int:
        """Return how many requests the call takes, which has ``sums[i]`` rows with the first i + 1 of them.

        It is the smallest call whose rows per second are close to those of the largest: the more requests are in
        flight, the closer, since all of them wait for what a small call loses. Simulated at 80 % load, this share
        comes close to the best fixed number wherever that lies (tests/unit/denoising/test_sharing.py).
        """
        fewest, most = sums[0], sums[-1]
        if most == fewest or not self.times.are_known(shape_key, range(1, fewest + 1), FEWEST_SMALL, SMALL_AGAIN_CALLS):
            return 1
        if not self.times.are_known(shape_key, range(2 * fewest, self._max_rows + 1), FEWEST_LARGE, LARGE_AGAIN_CALLS):
            return len(sums)
        fixed_s, alone_s, *estimates = self.times.estimate_s(shape_key, [0, fewest, *sums])
        if fixed_s > MOST_FIXED * alone_s:
            return len(sums)
        rates = [rows / seconds for rows, seconds in zip(sums, estimates, strict=True)]
        enough = rates[-1] * (1 - TOLERANCE / in_flight**2.5)
        return next(count for count, rate in enumerate(rates, start=1) if rate >= enough)

    def call_of(self, jobs: Sequence[J]) -> Call:
        """Return what a call of ``jobs`` is."""
        return Call(jobs[0].shape_key, sum(job.row_count for job in jobs), sum(job.step_work for job in jobs))

    def called(self, call: Call, seconds: float) -> None:
        """Learn from a call that took ``seconds``."""
        self.times.observe(call.shape_key, call.rows, seconds)
        self.work_done += call.work
