"""Asks a server for the pictures of many cases, several at a time."""

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from insta_depth import AsyncInstaDepth
from PIL import Image

from .cases import Case

_IN_FLIGHT = 8


def make_pictures(
    grpc_url: str, requests: Sequence[Mapping[str, Any]], on_made: Callable[[], None] = lambda: None
) -> list[np.ndarray]:
    """Return each request's picture (H, W, 3) uint8 RGB; ``on_made`` is called after each one."""
    return asyncio.run(_make_all(grpc_url, requests, on_made))


def request_of(case: Case, faces: int = 1, **attributes: Any) -> dict[str, Any]:
    """Return the client's arguments for a case; ``attributes`` take the place of its own."""
    own = {
        "face_image": [_png(picture) for picture in case.face_pictures(faces)],
        "pose_image": _png(case.pose_picture),
        "prompt": case.prompt,
        "seed": case.seed,
        "output_format": "png",
    }
    return own | attributes


async def _make_all(
    grpc_url: str, requests: Sequence[Mapping[str, Any]], on_made: Callable[[], None]
) -> list[np.ndarray]:
    gate = asyncio.Semaphore(_IN_FLIGHT)

    async def make(client: AsyncInstaDepth, request: Mapping[str, Any]) -> np.ndarray:
        async with gate:
            made = await client.generate(**request)
        on_made()
        return np.asarray(Image.open(io.BytesIO(made.image)).convert("RGB"))

    async with AsyncInstaDepth(grpc_url) as client:
        return await asyncio.gather(*(make(client, request) for request in requests))


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
