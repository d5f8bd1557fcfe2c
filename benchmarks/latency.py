"""One request after the other through Triton: how long, how evenly, and in which stage."""

import time
from statistics import median

from insta_depth import InstaDepth

from deploy.local import ON_FREE_PORTS, LocalTriton

from .open_loop import percentiles
from .options import Options
from .progress import tell
from .records import Measured
from .sides import request_of

_TIMEOUT_S = 1800.0
_WARM_UP = 3


def measure(options: Options, steps: int, requests: int) -> Measured:
    """Make ``requests`` pictures, no two alike, after some to warm up."""
    took_s, timings = list[float](), list[dict[str, float]]()
    with LocalTriton(options.repository, ON_FREE_PORTS) as server, InstaDepth(server.grpc_url, _TIMEOUT_S) as client:
        for number in range(-_WARM_UP, requests):
            tell(f"picture {max(0, number + 1)} of {requests}")
            request = request_of(options, steps, number + _WARM_UP)
            started = time.perf_counter()
            generation = client.generate(**request)
            if number >= 0:
                took_s.append(time.perf_counter() - started)
                timings.append(generation.timings)
    stages = {f"{stage}_ms": median(each[stage] for each in timings) for stage in timings[0] if stage != "total"}
    outside_ms = median(1000 * each_s - each["total"] for each_s, each in zip(took_s, timings, strict=True))
    at = percentiles(took_s)
    return {"p99_to_p50": float(at["p99_s"]) / float(at["p50_s"]), **at, **stages, "transport_ms": outside_ms}
