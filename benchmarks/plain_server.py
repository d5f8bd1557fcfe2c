"""This service against a plain server: PyTorch eager behind FastAPI, one request after the other.

Both get the same arrivals, at shares of what this service can do.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import psutil

from deploy.local import ON_FREE_PORTS, LocalTriton

from .open_loop import Ask, Connect, arrivals, capacity, send, service
from .options import Options
from .python_server import free_port, python_server
from .records import Measured

_TIMEOUT_S = 3600.0
_PATIENCE = 10
"""A picture is in time if it takes no longer than this service needs for so many at capacity."""


def measure(options: Options, load: float, requests: int) -> Measured:
    """Send ``requests`` to each server at ``load`` of this service's capacity."""
    shared: dict[str, Any] = {"face_image": options.face, "pose_image": options.pose, "prompt": "a woman"}
    with LocalTriton(options.repository, ON_FREE_PORTS) as triton, plain_server(options, "--tune") as (url, _):
        own, plain = service(triton.grpc_url, shared), plain_service(url, shared)
        own_per_s, plain_per_s = capacity(own), capacity(plain)
        per_s, limit_s = load * own_per_s, _PATIENCE / own_per_s
        planned = list(arrivals(requests, seed=0))
        answered = {"service": send(own, planned, per_s), "plain": send(plain, planned, per_s)}
    found = {
        f"{name}_{key}": value
        for name, each in answered.items()
        for key, value in {**each.percentiles(), "goodput_per_s": each.goodput_per_s(limit_s)}.items()
    }
    return {
        "mean_ratio": float(found["service_mean_s"]) / float(found["plain_mean_s"]),
        "load": load,
        "requests_per_s": per_s,
        "in_time_s": limit_s,
        "capacity_ratio": own_per_s / plain_per_s,
        **found,
    }


@contextmanager
def plain_server(options: Options, *flags: str) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the options' checkpoint by `served.plain_app`; yield its address and process."""
    port = free_port()
    paths = ("--repository", options.repository, "--checkpoint", options.checkpoint, "--pictures", options.pictures)
    arguments = ["-m", "benchmarks.served.plain_app", *map(str, paths), "--port", str(port), *flags]
    with python_server(arguments, port, "/healthz") as process:
        yield f"http://127.0.0.1:{port}/generate", process


def as_json(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request's attributes as JSON takes them: pictures as base64."""
    return {
        name: b64encode(value).decode() if isinstance(value, bytes) else value for name, value in attributes.items()
    }


def plain_service(url: str, shared: Mapping[str, Any]) -> Connect:
    """Return how to reach the plain server at ``url``."""
    own = as_json(shared)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_S), raise_for_status=True) as session:

            async def ask(attributes: Mapping[str, Any]) -> bytes:
                async with session.post(url, json={**own, **attributes}) as response:
                    return await response.read()

            yield ask

    return connect
