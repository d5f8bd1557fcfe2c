"""Step-level batching: all requests in flight are denoised in the same loop.

At each step the rows of all requests are joined, sent through the networks and split again. Requests join and leave
between steps, so a new one shares every call from its first step on.
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
class ActiveRequest:
    """A request in the step batcher, and the future that `StepBatcher.run` awaits."""

    denoising: Denoising
    on_step: Callable[[Denoising], None]
    is_cancelled: Callable[[], bool]
    finished: "asyncio.Future[None]"

    @property
    def has_left(self) -> bool:
        """Whether it finished, failed or was abandoned."""
        return self.finished.done()

    def leave(self, error: BaseException | None = None) -> None:
        """Resume the caller, with ``error`` if there is one."""
        if self.has_left:
            return
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)

    def leave_if_cancelled(self) -> None:
        """Leave if the client cancelled, or if asking it fails."""
        try:
            if not self.has_left and self.is_cancelled():
                self.leave(Cancelled(f"cancelled after step {self.denoising.step}"))
        except Exception as error:
            self.leave(error)

    def advance(self, noise_pred: torch.Tensor) -> None:
        """Take one step and report it; an error here affects this request only."""
        try:
            self.denoising.advance(noise_pred)
            self.on_step(self.denoising)
            if self.denoising.is_finished:
                self.leave()
        except Exception as error:
            self.leave(error)


class StepBatcher:
    """Denoises all requests in flight; its task runs while there are any."""

    def __init__(self, networks: Networks, max_rows: int, metrics: Metrics) -> None:
        self._networks = networks
        self._max_rows = max_rows
        self._metrics = metrics
        self._members: list[ActiveRequest] = []
        self._ticking: asyncio.Task[None] | None = None
        self._joined: dict[tuple[ActiveRequest, ...], dict[str, torch.Tensor]] = {}

    async def run(
        self, denoising: Denoising, on_step: Callable[[Denoising], None], is_cancelled: Callable[[], bool]
    ) -> None:
        """Run ``denoising`` to its end; raises `Cancelled` or the error of a step.

        ``on_step`` is called after each step, ``is_cancelled`` before.
        """
        member = ActiveRequest(denoising, on_step, is_cancelled, asyncio.get_running_loop().create_future())
        self._members.append(member)
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick_until_empty())
        await member.finished

    async def _tick_until_empty(self) -> None:
        while self._drop_those_who_left():
            try:
                await self._tick()
            except Exception as error:
                _log.exception("a tick failed; its requests end, the step batcher goes on")
                for member in self._members:
                    member.leave(error)
        self._joined = {}

    def _drop_those_who_left(self) -> bool:
        for member in self._members:
            member.leave_if_cancelled()
        self._members = [member for member in self._members if not member.has_left]
        return bool(self._members)

    async def _tick(self) -> None:
        calls = list(share_calls(self._members, self._max_rows))
        self._joined = {members: self._joined[members] for members in calls if members in self._joined}
        rows_in_flight = sum(member.denoising.row_count for member in self._members)
        await asyncio.gather(*(self._step(members, rows_in_flight) for members in calls))

    async def _step(self, members: tuple[ActiveRequest, ...], rows_in_flight: int) -> None:
        """Make one call for ``members``; an error affects only them."""
        try:
            noise_pred = await self._predict_noise(members, rows_in_flight)
        except Exception as error:
            for member in members:
                member.leave(error)
            return
        ends = accumulate((member.denoising.row_count for member in members), initial=0)
        for member, (start, end) in zip(members, pairwise(ends), strict=True):
            member.advance(noise_pred[start:end])

    async def _predict_noise(self, members: tuple[ActiveRequest, ...], rows_in_flight: int) -> torch.Tensor:
        inputs = {**self._conditioning(members), **_join([member.denoising.rows() for member in members])}
        self._metrics.step_called(len(inputs["sample"]), rows_in_flight)
        device = inputs["sample"].device
        return (await self._networks.call_on(device, "denoise_step", inputs, ["noise_pred"]))["noise_pred"]

    def _conditioning(self, members: tuple[ActiveRequest, ...]) -> dict[str, torch.Tensor]:
        """Join the conditioning, which is constant over the steps; cached while the batch has the same members."""
        if members not in self._joined:
            self._joined[members] = _join([member.denoising.conditioning for member in members])
        return self._joined[members]


def share_calls(members: Iterable[ActiveRequest], max_rows: int) -> Iterator[tuple[ActiveRequest, ...]]:
    """Group ``members`` into calls of one latent size and token count, of at most ``max_rows`` rows each.

    A request's two rows stay together.
    """
    groups: dict[tuple[int, ...], list[ActiveRequest]] = defaultdict(list)
    for member in members:
        groups[member.denoising.shape_key].append(member)
    for group in groups.values():
        yield from _filled(group, max_rows)


def _filled(group: Iterable[ActiveRequest], max_rows: int) -> Iterator[tuple[ActiveRequest, ...]]:
    call: list[ActiveRequest] = []
    rows = 0
    for member in group:
        if call and rows + member.denoising.row_count > max_rows:
            yield tuple(call)
            call, rows = [], 0
        call.append(member)
        rows += member.denoising.row_count
    yield tuple(call)


def _join(parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
