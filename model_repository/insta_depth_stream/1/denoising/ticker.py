"""Step-level batching: one clock for all requests in flight.

At each tick the rows of all requests are put together, sent through the networks and taken apart again.
Requests join and leave between ticks, so that a late one rides along from its first step.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

from insta_depth_shared.errors import Cancelled

from .loop import Denoising
from .metrics import Metrics
from .networks import Networks

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Rider:
    """A request in the ticker, and the future that its story waits for."""

    denoising: Denoising
    on_step: Callable[[Denoising], None]
    is_cancelled: Callable[[], bool]
    arrived: "asyncio.Future[None]"

    @property
    def has_left(self) -> bool:
        """Whether it arrived, failed, or nobody waits for it any more."""
        return self.arrived.done()

    def leave(self, error: BaseException | None = None) -> None:
        """Let the story go on, or end it with ``error``."""
        if self.has_left:
            return
        if error is None:
            self.arrived.set_result(None)
        else:
            self.arrived.set_exception(error)

    def leave_if_cancelled(self) -> None:
        """Ask the client's side; a question that fails is an answer too."""
        try:
            if not self.has_left and self.is_cancelled():
                self.leave(Cancelled(f"cancelled after step {self.denoising.step}"))
        except Exception as error:
            self.leave(error)

    def advance(self, noise_pred: torch.Tensor) -> None:
        """Take one step and tell; what goes wrong here is this request's alone."""
        try:
            self.denoising.advance(noise_pred)
            self.on_step(self.denoising)
            if self.denoising.is_finished:
                self.leave()
        except Exception as error:
            self.leave(error)


class Ticker:
    """Drives the denoising of all requests in flight; it runs while there are any."""

    def __init__(self, networks: Networks, max_rows: int, metrics: Metrics) -> None:
        self._networks = networks
        self._max_rows = max_rows
        self._metrics = metrics
        self._riders: list[Rider] = []
        self._ticking: asyncio.Task[None] | None = None
        self._joined: dict[tuple[Rider, ...], dict[str, torch.Tensor]] = {}

    async def ride(
        self, denoising: Denoising, on_step: Callable[[Denoising], None], is_cancelled: Callable[[], bool]
    ) -> None:
        """Return when ``denoising`` is finished; raises `Cancelled` or what went wrong.

        ``on_step`` is called after each step, ``is_cancelled`` before.
        """
        rider = Rider(denoising, on_step, is_cancelled, asyncio.get_running_loop().create_future())
        self._riders.append(rider)
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick_until_empty())
        await rider.arrived

    async def _tick_until_empty(self) -> None:
        while self._drop_those_who_left():
            try:
                await self._tick()
            except Exception as error:
                _log.exception("a tick failed; its requests end, the ticker goes on")
                for rider in self._riders:
                    rider.leave(error)
        self._joined = {}

    def _drop_those_who_left(self) -> bool:
        for rider in self._riders:
            rider.leave_if_cancelled()
        self._riders = [rider for rider in self._riders if not rider.has_left]
        return bool(self._riders)

    async def _tick(self) -> None:
        calls = list(share_calls(self._riders, self._max_rows))
        self._joined = {riders: self._joined[riders] for riders in calls if riders in self._joined}
        rows_in_flight = sum(rider.denoising.row_count for rider in self._riders)
        await asyncio.gather(*(self._step(riders, rows_in_flight) for riders in calls))

    async def _step(self, riders: tuple[Rider, ...], rows_in_flight: int) -> None:
        """Make one call for ``riders``; if it fails, it fails for them alone."""
        try:
            noise_pred = await self._predict_noise(riders, rows_in_flight)
        except Exception as error:
            for rider in riders:
                rider.leave(error)
            return
        ends = accumulate((rider.denoising.row_count for rider in riders), initial=0)
        for rider, (start, end) in zip(riders, pairwise(ends), strict=True):
            rider.advance(noise_pred[start:end])

    async def _predict_noise(self, riders: tuple[Rider, ...], rows_in_flight: int) -> torch.Tensor:
        inputs = {**self._conditioning(riders), **_join([rider.denoising.rows() for rider in riders])}
        self._metrics.step_called(len(inputs["sample"]), rows_in_flight)
        device = inputs["sample"].device
        return (await self._networks.call_on(device, "denoise_step", inputs, ["noise_pred"]))["noise_pred"]

    def _conditioning(self, riders: tuple[Rider, ...]) -> dict[str, torch.Tensor]:
        """Join what stays the same from step to step; kept for as long as the company stays the same."""
        if riders not in self._joined:
            self._joined[riders] = _join([rider.denoising.conditioning for rider in riders])
        return self._joined[riders]


def share_calls(riders: Iterable[Rider], max_rows: int) -> Iterator[tuple[Rider, ...]]:
    """Group ``riders`` into calls of one latent size and token count, of at most ``max_rows`` rows each.

    A request's two rows never part.
    """
    groups: dict[tuple[int, ...], list[Rider]] = defaultdict(list)
    for rider in riders:
        groups[rider.denoising.shape_key].append(rider)
    for group in groups.values():
        yield from _filled(group, max_rows)


def _filled(group: Iterable[Rider], max_rows: int) -> Iterator[tuple[Rider, ...]]:
    call: list[Rider] = []
    rows = 0
    for rider in group:
        if call and rows + rider.denoising.row_count > max_rows:
            yield tuple(call)
            call, rows = [], 0
        call.append(rider)
        rows += rider.denoising.row_count
    yield tuple(call)


def _join(parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
