"""Whether the engines answer at all, asked where a request has failed.

After some errors of a GPU, such as an illegal memory access, every call of the process in which they came up fails
until that process ends (CUDA calls them sticky), while Triton goes on saying that it is ready.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from insta_depth_shared.errors import EngineFailed, InstaDepthError
from insta_depth_shared.manifest import Manifest

from .networks import Networks, project_face

ATTEMPTS = 6
PAUSE_S = 5.0
_NO_REASON = re.compile(r"shared memory (pool|region|key)|Server (not ready|is stopping)")
"""Triton's words for a full /dev/shm, which a new start does not make empty, and for a server that stops anyway."""


class SelfTest:
    """Calls ``give_up`` with the reason once the smallest engine has failed `ATTEMPTS` times, `PAUSE_S` apart."""

    def __init__(
        self, networks: Networks, manifest: Manifest, device: torch.device, give_up: Callable[[str], None]
    ) -> None:
        self._networks = networks
        self._nobody = np.zeros(manifest.face.embedding_size, np.float32)
        self._dtype = np.dtype(manifest.numpy_dtype)
        self._device = device
        self._give_up = give_up
        self._running: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Start the test in the background, unless it runs, where the block fails through no fault of the request."""
        try:
            yield
        except Exception as error:
            if isinstance(error, EngineFailed) or not isinstance(error, InstaDepthError):
                self._start()
            raise

    def _start(self) -> None:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        for _ in range(ATTEMPTS):
            await asyncio.sleep(PAUSE_S)
            failure = await self._failure()
            if failure is None or _NO_REASON.search(failure):
                return
        self._give_up(f"identity_projector failed {ATTEMPTS} times in a row: {failure}")

    async def _failure(self) -> str | None:
        try:
            await project_face(self._networks, self._nobody, False, self._dtype, self._device)
        except Exception as error:  # whatever a broken GPU raises
            return str(error)
        return None
