"""A request id and a log line for each request, and metrics for Prometheus."""

import logging
import logging.config
import re
import time
from collections.abc import Callable, Collection
from contextvars import ContextVar
from decimal import Decimal
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default="")

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOGGERS = ("insta_depth", "insta_depth_gateway", "uvicorn")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One application's metrics, in their own registry. Times are in seconds, as Prometheus recommends."""

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
        """Read the gauges' values from these."""
        self._in_flight.set_function(in_flight)
        self._waiting.set_function(waiting)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a response."""
        self._requests.labels(path, status).inc()
        self._duration.labels(path).observe(seconds)

    def generated(self, queue_ms: float, generation_ms: float) -> None:
        """Record the times of a finished picture."""
        self._queue.observe(queue_ms / 1000)
        self._generation.observe(generation_ms / 1000)

    def spent(self, credits: Decimal) -> None:
        """Count spent credits."""
        self._spent.inc(float(credits))

    def returned(self, count: int) -> None:
        """Count expired reservations."""
        self._returned.inc(count)


class Observer:
    """ASGI middleware; the outermost. Requests to other than ``paths`` are counted together."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log and count its outcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(scope, send)
        token = request_id.set(seen.id)
        try:
            await self._app(scope, receive, seen.send)
        except Exception:
            logger.exception("a request broke")
            if seen.status == 0:
                failure = {"error": "the request could not be processed", "code": "INTERNAL"}
                await JSONResponse(failure, 500)(scope, receive, seen.send)
        finally:
            self._note(scope, seen)
            request_id.reset(token)

    def _note(self, scope: Scope, seen: "_Seen") -> None:
        seconds, path = time.monotonic() - seen.started_s, scope["path"]
        self._metrics.answered(path if path in self._paths else "other", seen.status, seconds)
        state = scope.get("state", {})
        told = {
            "method": scope["method"][:20],
            "path": path[:100],
            "status": seen.status,
            "duration_ms": round(seconds * 1000, 1),
            "key": state.get("key"),
            "code": state.get("code"),
        }
        # Health probes and the page's assets would flood the log.
        is_noted = path.startswith("/v1/") or seen.status >= 400
        logger.log(
            logging.INFO if is_noted else logging.DEBUG,
            "request",
            extra={name: value for name, value in told.items() if value is not None},
        )


class _Seen:
    """What is observed of one request."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if _ACCEPTED_ID.fullmatch(given) else uuid4().hex
        self.started_s = time.monotonic()
        self.status = 0
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)


class _Fields(logging.Filter):
    """Adds the request's id, and drops uvicorn's coloured copy of the message."""

    def filter(self, record: logging.LogRecord) -> bool:
        if current := request_id.get():
            record.request_id = current
        vars(record).pop("color_message", None)
        return True


def configure_logs(level: str) -> None:
    """Log JSON lines to standard error. uvicorn's access log is off: ours has the request's id."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"fields": {"()": _Fields}},
            "formatters": {
                "json": {
                    "()": JsonFormatter,
                    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["fields"]}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {name: {"level": level.upper()} for name in _LOGGERS},
        }
    )
