"""Waits until Triton has answered every request, with a time limit; for ``preStop``. The exit status is always 0.

It runs before the server is told to stop, while clients are switching to other servers. Until they have
(``--least-s``), a request may still arrive at any time. After that the server must be idle for some time, not just for
one reading of 0.
"""

import argparse
import http.client
import os
import sys
import time

GAUGE = "insta_depth_requests_in_flight"
_POLL_S = 0.2


def main() -> int:
    """Wait and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default=_host())
    parser.add_argument("--port", type=int, default=int(os.environ.get("INSTA_DEPTH_TRITON_METRICS_PORT", "8002")))
    parser.add_argument("--least-s", type=float, default=0.0, help="the shortest wait (%(default)s)")
    parser.add_argument("--timeout-s", type=float, default=120.0, help="the longest wait (%(default)s)")
    parser.add_argument("--quiet-s", type=float, default=2.0, help="how long it has to be quiet (%(default)s)")
    options = parser.parse_args()
    seen = drain(options.host, options.port, options.timeout_s, options.quiet_s, options.least_s)
    print(f"drain: {seen}", file=sys.stderr, flush=True)  # noqa: T201 - what the orchestrator of containers shows
    return 0


def _host() -> str:
    address = os.environ.get("INSTA_DEPTH_TRITON_ADDRESS", "0.0.0.0")
    return "127.0.0.1" if address == "0.0.0.0" else address


def drain(host: str, port: int, timeout_s: float, quiet_s: float, least_s: float = 0.0) -> str:
    """Return once nothing has been in flight for ``quiet_s``, nobody answers, or ``timeout_s`` have passed.

    If the server answers, not before ``least_s`` have passed.
    """
    start_s = time.monotonic()
    quiet_since_s: float | None = None
    while True:
        count = in_flight(host, port)
        now_s = time.monotonic()
        if count is None:
            return f"no {GAUGE} to be had from {host}:{port}: nothing to wait for"
        quiet_since_s = None if count else quiet_since_s or now_s
        waited_s = now_s - start_s
        if quiet_since_s and now_s - quiet_since_s >= quiet_s and waited_s >= least_s:
            return f"nothing in flight after {waited_s:.1f} s"
        if waited_s >= timeout_s:
            return f"still {count} in flight after {waited_s:.1f} s: given up"
        time.sleep(_POLL_S)


def in_flight(host: str, port: int) -> int | None:
    """Return the gauge, or None if the page or the gauge is unavailable."""
    # http.client, because urllib would use a proxy for 127.0.0.1.
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode(errors="replace").splitlines()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    values = [float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == GAUGE]
    return int(sum(values)) if values else None


if __name__ == "__main__":
    sys.exit(main())
