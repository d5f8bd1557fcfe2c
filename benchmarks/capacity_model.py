"""How many pictures a GPU makes, and how long they take, from a step's time: one queue with closed formulas.

A request is N steps shared with others and some work of its own. The step batcher runs one step for all n requests
in flight, which takes ``base + n × row`` (`StepTime`); pre- and postprocessing take ``fixed`` of the same GPU. In the
time ``N × step(n) + n × fixed`` the GPU therefore finishes n requests: the rate μ(n). Requests arrive by chance
(Poisson).
That is processor sharing with rates that depend on the number in flight, whose distribution depends on the mean work
alone (Cohen 1979, "The multiple phase service network with generalized processor sharing"):
p(n) ∝ Π λ / μ(i). Those beyond the admission limit K wait in line, where requests of equal work wait half as long as
ones of exponential work (Allen and Cunneen's factor (1 + c²) / 2): with ρ = λ / μ(K), p falls by ρ / (2 − ρ) there.
The mean follows by Little's law; percentiles take the number in flight to stay as a request finds it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

_NEGLIGIBLE = 1e-9
_MOST_IN_SYSTEM = 100_000
_MOST_GPUS = 10_000
_HIGHEST_LOAD = 0.999
"""Of saturation; closer to it a queue takes hours to show how long it gets."""


class CapacityError(ValueError):
    """What was asked for cannot be had; the text says why."""


@dataclass(frozen=True)
class Work:
    """One request on one GPU: seconds of a step alone, of which ``row_share`` comes again with each other request."""

    steps: int
    step_s: float
    row_share: float
    fixed_s: float
    max_requests: int

    @property
    def alone_s(self) -> float:
        """A picture's time on an idle GPU."""
        return self.latency_s(0)

    def latency_s(self, others: int) -> float:
        """A picture's time beside so many others, those in line before it included."""
        in_flight = min(others + 1, self.max_requests)
        in_line = others + 1 - in_flight
        return self._round_s(in_flight) + in_line / self.rate(self.max_requests)

    def rate(self, in_flight: int) -> float:
        """μ(n): pictures a second with ``in_flight`` requests on the GPU."""
        together = min(in_flight, self.max_requests)
        return together / self._round_s(together)

    @property
    def saturation(self) -> float:
        """Pictures a second at the admission limit: no load may reach it."""
        return self.rate(self.max_requests)

    def _round_s(self, together: int) -> float:
        step_s = self.step_s * (1 - self.row_share + self.row_share * together)
        return self.steps * step_s + together * self.fixed_s


@dataclass(frozen=True)
class Queue:
    """One GPU under a load; ``shares[n]`` of the time n requests are there."""

    work: Work
    images_per_s: float
    shares: tuple[float, ...]

    @property
    def mean_in_flight(self) -> float:
        """Requests that take part in a step, over time."""
        return sum(min(n, self.work.max_requests) * share for n, share in enumerate(self.shares))

    @property
    def mean_latency_s(self) -> float:
        """By Little's law."""
        return sum(n * share for n, share in enumerate(self.shares)) / self.images_per_s

    @property
    def refused_share(self) -> float:
        """Requests that find the limit reached: they wait in a gateway's line, or Triton refuses them."""
        return sum(self.shares[self.work.max_requests :])

    def latency_s(self, percentile: float) -> float:
        """The time that so many of 100 requests stay below; those who arrive find what there is over time."""
        asked = percentile / 100 - _NEGLIGIBLE
        others = next(n for n, reached in enumerate(accumulate(self.shares)) if reached >= asked)
        below = sum(self.shares[:others])
        longer, shorter = self.work.latency_s(others), self.work.latency_s(max(others - 1, 0))
        return shorter + (longer - shorter) * (asked - below) / self.shares[others]


def queue(work: Work, images_per_s: float) -> Queue:
    """Return one GPU under ``images_per_s``; raises `CapacityError` where it cannot keep up."""
    if images_per_s >= _HIGHEST_LOAD * work.saturation:
        raise CapacityError(f"{images_per_s:g} pictures a second are more than a GPU's {work.saturation:.3g}")
    weights = list(_weights(work, images_per_s))
    whole = sum(weights)
    return Queue(work, images_per_s, tuple(weight / whole for weight in weights))


def _weights(work: Work, images_per_s: float) -> Iterator[float]:
    """p(n) / p(0), until what follows does not count."""
    weight, total = 1.0, 0.0
    for n in range(1, _MOST_IN_SYSTEM):
        yield weight
        total += weight
        occupied = images_per_s / work.rate(n)
        weight *= occupied if n <= work.max_requests else occupied / (2 - occupied)
        if n > work.max_requests and weight < _NEGLIGIBLE * total:
            return


@dataclass(frozen=True)
class Fleet:
    """As many GPUs as a load needs, each a server of its own with an equal part of the load."""

    needed: int
    spare: int
    each: Queue

    @property
    def gpus(self) -> int:
        """Those needed and those to spare, which are paid for, too."""
        return self.needed + self.spare


def fleet(work: Work, images_per_s: float, p95_s: float, spare: int = 0) -> Fleet:
    """Return the smallest fleet that keeps the target; raises `CapacityError` where none can."""
    if work.alone_s > p95_s:
        raise CapacityError(f"one picture alone takes {work.alone_s:.1f} s, above the target {p95_s:g} s")
    for needed in _counts(images_per_s / (_HIGHEST_LOAD * work.saturation)):
        each = queue(work, images_per_s / needed)
        if each.latency_s(95) <= p95_s:
            return Fleet(needed, spare, each)
    raise CapacityError(f"not even {_MOST_GPUS} GPUs keep {p95_s:g} s at {images_per_s:g} pictures a second")


def _counts(at_least: float) -> Sequence[int]:
    return range(int(at_least) + 1, _MOST_GPUS + 1)
