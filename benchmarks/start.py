"""From nothing to the first picture, and the memory then: this service, and the plain server in PyTorch.

The files are in the system's cache, as after a first start.
"""

import time

import requests
from insta_depth import InstaDepth

from deploy.local import ON_FREE_PORTS, LocalTriton

from .options import Options
from .plain_server import as_json, plain_server
from .progress import tell
from .python_server import memory_mib
from .records import Measured
from .sides import Request, Side, request_of, seconds

_TIMEOUT_S = 1800.0
_STEPS = 10
_PICTURES = 5


def measure(options: Options) -> Measured:
    """Start each once and make some pictures."""
    tell("this service")
    own = _own(options)
    tell("the plain server")
    plain = _plain(options)
    first_s = [found["ready_s"] + found["first_picture_s"] for found in (own, plain)]
    return {
        "first_picture_ratio": first_s[0] / first_s[1],
        "memory_ratio": own["memory_mib"] / plain["memory_mib"],
        **{f"service_{name}": value for name, value in own.items()},
        **{f"plain_{name}": value for name, value in plain.items()},
    }


def _own(options: Options) -> dict[str, float]:
    started = time.perf_counter()
    with LocalTriton(options.repository, ON_FREE_PORTS) as server, InstaDepth(server.grpc_url, _TIMEOUT_S) as client:
        return _pictures(options, started, server.pid, lambda request: client.generate(**request).image)


def _plain(options: Options) -> dict[str, float]:
    started = time.perf_counter()
    with plain_server(options) as (url, process):

        def ask(request: Request) -> bytes:
            answer = requests.post(url, json=as_json(request), timeout=_TIMEOUT_S)
            answer.raise_for_status()
            return answer.content

        return _pictures(options, started, process.pid, ask)


def _pictures(options: Options, started: float, pid: int, side: Side) -> dict[str, float]:
    ready_s = time.perf_counter() - started
    took_s = [seconds(side, request_of(options, _STEPS, number)) for number in range(_PICTURES)]
    return {
        "ready_s": ready_s,
        "first_picture_s": took_s[0],
        "later_picture_s": min(took_s[1:]),
        "memory_mib": memory_mib(pid),
    }
