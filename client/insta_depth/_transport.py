"""The interface between client and wire: `_grpc` implements it, `testing` fakes it."""

from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from insta_depth._cancel import CancelToken
from insta_depth._generation import Response
from insta_depth._request import GenerationRequest


@dataclass(frozen=True)
class ServerStatus:
    """``version``: the server's; ``models``: our models by name, and whether each can be called."""

    version: str
    models: dict[str, bool]

    @property
    def ready(self) -> bool:
        """Whether every model can be called."""
        return all(self.models.values())


@dataclass(frozen=True)
class Capabilities:
    """What the served checkpoint offers beyond the documented attributes; empty if the server does not say.

    ``schedulers``: the names that a request may use; ``default_scheduler``: the one used if a request names none;
    ``defaults``: of all attributes that have one, by name.
    """

    schedulers: tuple[str, ...] = ()
    default_scheduler: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)


class Transport(Protocol):
    """Carries requests to a server. Closing the generator that `stream` returns cancels the request there."""

    def stream(
        self, request: GenerationRequest, timeout_s: float | None, cancel: CancelToken
    ) -> Generator[Response, None, None]:
        """Send ``request`` and yield the server's responses; raise an `InstaDepthError`."""
        ...

    def status(self) -> ServerStatus:
        """Ask whether our models can be called."""
        ...

    def capabilities(self) -> Capabilities:
        """Ask what the served checkpoint offers."""
        ...

    def close(self) -> None:
        """Drop the connection and what is still running on it."""
        ...


class AsyncTransport(Protocol):
    """`Transport` for asyncio; cancelling the task that iterates cancels the request on the server."""

    def stream(self, request: GenerationRequest, timeout_s: float | None) -> AsyncGenerator[Response, None]:
        """Send ``request`` and yield the server's responses; raise an `InstaDepthError`."""
        ...

    async def status(self) -> ServerStatus:
        """Ask whether our models can be called."""
        ...

    async def capabilities(self) -> Capabilities:
        """Ask what the served checkpoint offers."""
        ...

    async def close(self) -> None:
        """Drop the connection and what is still running on it."""
        ...
