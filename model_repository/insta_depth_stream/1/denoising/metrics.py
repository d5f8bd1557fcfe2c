"""The orchestrator's metrics; Triton's own queue metrics do not cover requests that run inside one model."""

from typing import Any


class Metrics:
    """Metrics that do nothing: for tests and for runs in one process."""

    def requests_in_flight(self, count: int) -> None:
        """Set the number of requests that are admitted and not yet answered."""

    def request_ended(self, outcome: str) -> None:
        """Count an answered request by outcome: ``ok``, or its error's code in lower case."""

    def step_called(self, rows: int, rows_in_flight: int) -> None:
        """Count a call of ``denoise_step`` with ``rows`` of the ``rows_in_flight``."""


class TritonMetrics(Metrics):
    """Metrics on Triton's metrics page.

    Takes ``triton_python_backend_utils`` as an argument, so that only ``model.py`` imports it.
    """

    def __init__(self, pb_utils: Any) -> None:
        self._pb_utils = pb_utils
        self._families: list[Any] = []  # Triton drops a family's metrics when the family's object is collected
        self._in_flight = self._family("requests_in_flight", "Requests in flight", "GAUGE").Metric(labels={})
        self._calls = self._counter("step_calls_total", "Calls of denoise_step")
        self._rows = self._counter("step_rows_total", "Rows in all calls of denoise_step")
        self._offered = self._counter(
            "step_rows_in_flight_total", "Rows in flight at each call of denoise_step, summed over the calls"
        )
        self._ended = self._family("requests_total", "Requests answered, by outcome", "COUNTER")
        self._outcomes: dict[str, Any] = {}

    def _family(self, name: str, description: str, kind: str) -> Any:
        families = self._pb_utils.MetricFamily
        family = families(name=f"insta_depth_{name}", description=description, kind=getattr(families, kind))
        self._families.append(family)
        return family

    def _counter(self, name: str, description: str) -> Any:
        return self._family(name, description, "COUNTER").Metric(labels={})

    def requests_in_flight(self, count: int) -> None:
        """Set the gauge."""
        self._in_flight.set(count)

    def request_ended(self, outcome: str) -> None:
        """Count the request under its outcome."""
        if outcome not in self._outcomes:
            self._outcomes[outcome] = self._ended.Metric(labels={"outcome": outcome})
        self._outcomes[outcome].increment(1)

    def step_called(self, rows: int, rows_in_flight: int) -> None:
        """Count the call and its rows."""
        self._calls.increment(1)
        self._rows.increment(rows)
        self._offered.increment(rows_in_flight)
