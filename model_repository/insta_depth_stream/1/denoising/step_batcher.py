"""Step-level batching: all requests in flight are denoised in the same loop.

Each call takes one step for some of them (`Sharing` chooses whom): their rows are joined, sent through the networks
and split again. Requests join and leave between the calls.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

from insta_depth_shared.errors import Cancelled

from .loop import Denoising, Rows
from .metrics import Metrics
from .networks import Networks
from .sharing import Sharing

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class ActiveRequest:
    """A request in the step batcher, and the future that `StepBatcher.run` awaits."""

    denoising: Denoising
    on_step: Callable[[Denoising], None]
    on_wait: Callable[[Denoising, int], None]
    is_cancelled: Callable[[], bool]
    finished: "asyncio.Future[None]"
    work_before: float
    ahead: int = 0
    """Requests that were to be served first when it was last told so."""

    @property
    def row_count(self) -> int:
        """Its rows in a call."""
        return self.denoising.row_count

    @property
    def shape_key(self) -> tuple[int, ...]:
        """Requests that agree in it can share a call."""
        return self.denoising.shape_key

    @property
    def step_work(self) -> float:
        """Latent cells of all its rows in the next call."""
        return self.denoising.row_count * self.denoising.latents[0, 0].numel()

    @property
    def work_left(self) -> float:
        """Latent cells of all its rows and steps to come."""
        return self.denoising.rows_left * self.denoising.latents[0, 0].numel()

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

    def wait(self, ahead: int) -> None:
        """Report that ``ahead`` requests are served first, if that is new; an error here affects this request only."""
        if ahead == self.ahead:
            return
        self.ahead = ahead
        try:
            self.on_wait(self.denoising, ahead)
        except Exception as error:
            self.leave(error)

    def advance(self, noise_pred: torch.Tensor) -> None:
        """Take one step and report it; an error here affects this request only."""
        self.ahead = 0
        try:
            self.denoising.advance(noise_pred)
            self.on_step(self.denoising)
            if self.denoising.is_finished:
                self.leave()
        except Exception as error:
            self.leave(error)


class StepBatcher:
    """Denoises all requests in flight; its task runs while there are any."""

    def __init__(self, networks: Networks, sharing: Sharing, metrics: Metrics) -> None:
        self._networks = networks
        self._sharing = sharing
        self._metrics = metrics
        self._members: list[ActiveRequest] = []
        self._ticking: asyncio.Task[None] | None = None
        self._joined: tuple[Sequence[Rows], dict[str, torch.Tensor]] = ([], {})

    async def run(
        self,
        denoising: Denoising,
        on_step: Callable[[Denoising], None],
        is_cancelled: Callable[[], bool],
        on_wait: Callable[[Denoising, int], None] = lambda denoising, ahead: None,
    ) -> None:
        """Run ``denoising`` to its end; raises `Cancelled` or the error of a step.

        ``on_step`` is called after each step, ``is_cancelled`` before each call, and ``on_wait`` with the number of
        requests that are served first, when that changes.
        """
        finished = asyncio.get_running_loop().create_future()
        self._members.append(
            ActiveRequest(denoising, on_step, on_wait, is_cancelled, finished, self._sharing.work_done)
        )
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick_until_empty())
        await finished

    async def _tick_until_empty(self) -> None:
        while self._drop_those_who_left():
            try:
                await self._tick()
            except Exception as error:
                _log.exception("a tick failed; its requests end, the step batcher goes on")
                for member in self._members:
                    member.leave(error)
            await asyncio.sleep(0)  # who is ready to join does so before the next call, and who has left goes on
        self._joined = ([], {})

    def _drop_those_who_left(self) -> bool:
        for member in self._members:
            member.leave_if_cancelled()
        self._members = [member for member in self._members if not member.has_left]
        return bool(self._members)

    async def _tick(self) -> None:
        ordered = self._sharing.ordered(self._members)
        members = self._sharing.next_call(ordered)
        for ahead, member in enumerate(ordered):
            if member not in members:
                member.wait(ahead)
        call, started_s = self._sharing.call_of(members), time.perf_counter()
        if await self._step(members):
            self._sharing.called(call, time.perf_counter() - started_s)

    async def _step(self, members: Sequence[ActiveRequest]) -> bool:
        """Make one call for ``members`` and return whether it succeeded; an error affects only them."""
        try:
            noise_pred = await self._predict_noise(members)
        except Exception as error:
            for member in members:
                member.leave(error)
            return False
        ends = list(accumulate((member.row_count for member in members), initial=0))
        for member, (start, end) in zip(members, pairwise(ends), strict=True):
            member.advance(noise_pred[start:end])
        return True

    async def _predict_noise(self, members: Sequence[ActiveRequest]) -> torch.Tensor:
        inputs = {**self._conditioning(members), **_join([member.denoising.rows() for member in members])}
        self._metrics.step_called(len(inputs["sample"]), sum(member.row_count for member in self._members))
        device = inputs["sample"].device
        return (await self._networks.call_on(device, "denoise_step", inputs, ["noise_pred"]))["noise_pred"]

    def _conditioning(self, members: Sequence[ActiveRequest]) -> dict[str, torch.Tensor]:
        """Join the conditioning; kept while the calls have the same members, in whom the same controls act."""
        parts = [member.denoising.conditioning for member in members]
        if list(map(id, self._joined[0])) != list(map(id, parts)):
            self._joined = (parts, _join(parts))
        return self._joined[1]


def _join(parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    if len(parts) == 1:
        return {name: value.contiguous() for name, value in parts[0].items()}
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
