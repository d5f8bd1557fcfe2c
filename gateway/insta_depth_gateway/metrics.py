"""What Prometheus is told."""

from collections.abc import Callable
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One application's metrics, in a registry of their own. Times are in seconds, as Prometheus wants them."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        name = "insta_depth_gateway"

        def seconds(of: str, about: str, labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(f"{name}_{of}_seconds", about, labels, registry=registry, buckets=_SECONDS)

        self._requests = Counter(f"{name}_requests", "Answers.", ("path", "status"), registry=registry)
        self._duration = seconds("request", "From a request's first byte to its answer's last.", ("path",))
        self._queue = seconds("queue", "Waiting for a turn.")
        self._generation = seconds("generation", "Triton's work.")
        self._spent = Counter(f"{name}_credits_spent", "Credits spent.", registry=registry)
        self._returned = Counter(f"{name}_reservations_expired", "Held by gateways that died.", registry=registry)
        self._in_flight = Gauge(f"{name}_in_flight", "Requests at work in Triton.", registry=registry)
        self._waiting = Gauge(f"{name}_waiting", "Requests that wait for a turn.", registry=registry)

    def watch(self, in_flight: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Ask these for the gauges' values."""
        self._in_flight.set_function(in_flight)
        self._waiting.set_function(waiting)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, status).inc()
        self._duration.labels(path).observe(seconds)

    def generated(self, queue_ms: float, generation_ms: float) -> None:
        """Note the times of a finished picture."""
        self._queue.observe(queue_ms / 1000)
        self._generation.observe(generation_ms / 1000)

    def spent(self, credits: Decimal) -> None:
        """Add to the credits spent."""
        self._spent.inc(float(credits))

    def returned(self, count: int) -> None:
        """Add to the reservations that expired."""
        self._returned.inc(count)
