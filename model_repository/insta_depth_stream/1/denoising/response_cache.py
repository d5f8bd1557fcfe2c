"""Answers that are asked for again: the same face comes with many prompts, the same negative prompt with many faces."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch
from cachetools import LRUCache

from insta_depth_shared.bls import Array

from .networks import Networks

_CACHED = ("face_analysis", "prompt_encoder")


class CachedNetworks:
    """`Networks` that keep up to ``max_bytes`` of the answers of face_analysis and prompt_encoder; 0: none.

    An error is not kept: what fails may succeed the next time. Triton's own response cache keeps it, as an answer
    without outputs that succeeds (``DelegateResponse`` in core's dynamic_batch_scheduler.cc, r24.10 to r26.09).
    """

    def __init__(self, networks: Networks, max_bytes: int) -> None:
        self._networks = networks
        self._answers: LRUCache[bytes, dict[str, np.ndarray]] = LRUCache(max_bytes, getsizeof=_size)

    async def call(self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """See `Networks.call`; arrays that were kept are read-only."""
        if model not in _CACHED:
            return await self._networks.call(model, inputs, outputs)
        key = await asyncio.to_thread(_key, model, inputs, outputs)
        if key not in self._answers:
            answer = _kept(await self._networks.call(model, inputs, outputs))
            with suppress(ValueError):  # larger than the whole cache
                self._answers[key] = answer
            return answer
        return self._answers[key]

    async def call_on(
        self, device: torch.device, model: str, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """See `Networks.call_on`; nothing of it is kept."""
        return await self._networks.call_on(device, model, inputs, outputs)


def _key(model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> bytes:
    digest = hashlib.blake2b(repr((model, tuple(outputs))).encode())
    for name, array in inputs.items():
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(_content(array))
    return digest.digest()


def _content(array: np.ndarray) -> bytes | memoryview:
    if array.dtype == np.object_:
        return repr(array.tolist()).encode()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _kept(answer: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copy ``answer`` out of the memory that Triton shares with its models, which would stay allocated with it."""
    copies = {name: array.copy() for name, array in answer.items()}
    for array in copies.values():
        array.flags.writeable = False
    return copies


def _size(answer: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in answer.values())
