"""Watching what another thread or process does."""

import time
import urllib.request
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    """Poll ``condition`` until it holds; fail after ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.02)


def metric(metrics_url: str, name: str) -> float:
    """Return one metric of a Prometheus page, summed over its labels."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    lines = opener.open(metrics_url, timeout=10).read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)
