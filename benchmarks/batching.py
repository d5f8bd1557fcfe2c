"""How well the orchestrator fills its calls where that pays: with a step that takes the same time for any rows.

Requests that start a little apart should then share every step.
"""

import os
import re
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from insta_depth import Generation, InstaDepth

from deploy.local import ON_FREE_PORTS, LocalTriton
from export.plans.config import read_config

from .options import Options
from .records import Measured

_COUNTERS = ("step_calls", "step_rows", "step_rows_in_flight")
_TIMEOUT_S = 1800.0
_CONSTANT_STEP = Path(__file__).parent / "served" / "constant_step.py"


@dataclass(frozen=True)
class Load:
    """Requests that start ``gap_s`` apart; each has the shared attributes and those of its own."""

    requests: Sequence[dict[str, Any]]
    gap_s: float = 0.05


def measure(options: Options, load: Load) -> Measured:
    """Serve the repository with a constant step and send it the load once, after a request that warms everything up."""
    with tempfile.TemporaryDirectory() as folder:
        repository = with_constant_step(options.repository, Path(folder) / "constant")
        with LocalTriton(repository, ON_FREE_PORTS) as server, InstaDepth(server.grpc_url, _TIMEOUT_S) as client:
            return measure_served(server.metrics_url, client, options, load)


def with_constant_step(repository: Path, copy: Path) -> Path:
    """Copy ``repository``, without its weights where links can be made, and replace its step by `constant_step`."""
    shutil.copytree(repository, copy, copy_function=_link, ignore=shutil.ignore_patterns("__pycache__"))
    step = copy / "denoise_step"
    config = read_config(step / "config.pbtxt")
    config.ClearField("platform")
    config.ClearField("ensemble_scheduling")
    config.backend = "python"
    (step / "config.pbtxt").unlink()
    (step / "config.pbtxt").write_text(str(config), encoding="utf-8")
    (step / "1").mkdir(exist_ok=True)
    shutil.copy(_CONSTANT_STEP, step / "1" / "model.py")
    return copy


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def measure_served(metrics_url: str, client: InstaDepth, options: Options, load: Load) -> Measured:
    """Send the load to a server that runs."""
    pictures: dict[str, Any] = {"face_image": options.face, "pose_image": options.pose}
    client.generate(**pictures, prompt="warm", num_inference_steps=4)
    before, started = read_counters(metrics_url), time.perf_counter()
    requests = [{**pictures, "prompt": "a woman", **own} for own in load.requests]
    generations = send(client, requests, load.gap_s)
    took_s = time.perf_counter() - started
    after = read_counters(metrics_url)
    calls, rows, in_flight = (after[name] - before[name] for name in _COUNTERS)
    latencies_ms = [generation.timings["total"] for generation in generations]
    return {
        "rows_share": rows / in_flight,
        "rows_per_call": rows / calls,
        "rows_in_flight": in_flight / calls,
        "calls": int(calls),
        "requests_per_s": len(generations) / took_s,
        "mean_latency_ms": mean(latencies_ms),
        "longest_latency_ms": max(latencies_ms),
    }


def send(client: InstaDepth, requests: Sequence[dict[str, Any]], gap_s: float) -> list[Generation]:
    """Start the requests ``gap_s`` apart and wait for all."""
    with ThreadPoolExecutor(len(requests)) as pool:
        started, futures = time.monotonic(), []
        for index, request in enumerate(requests):
            time.sleep(max(0.0, started + index * gap_s - time.monotonic()))
            futures.append(pool.submit(lambda own: client.generate(**own), request))
        return [future.result() for future in futures]


def read_counters(metrics_url: str) -> dict[str, float]:
    """The orchestrator's counters by name, without ``insta_depth_`` and ``_total``; 0 before the first request."""
    # No proxy is asked for a server on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(metrics_url, timeout=30) as response:
        page = response.read().decode()
    return {name: _value(page, f"insta_depth_{name}_total") for name in _COUNTERS}


def _value(page: str, metric: str) -> float:
    lines = re.findall(rf"^{metric}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    return sum(map(float, lines))
