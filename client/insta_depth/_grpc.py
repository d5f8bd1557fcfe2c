"""Triton's gRPC, for threads and for asyncio.

Both use tritonclient's generated stub, so that every request has its own stream. `InferenceServerClient` allows one
stream per client and cancels all its requests together.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from insta_depth._cancel import CancelToken
from insta_depth._errors import InstaDepthError, InvalidInput, ServerUnavailable, from_rpc
from insta_depth._generation import Response
from insta_depth._request import GenerationRequest
from insta_depth._transport import Capabilities, ServerStatus
from insta_depth._wire import (
    MODEL,
    MODELS,
    capabilities_in,
    config_message,
    from_message,
    loss,
    probe_message,
    to_message,
)
from insta_depth.addresses import channel_options

# Reconnect within seconds; gRPC's own limit is two minutes.
_RECONNECTING = (("grpc.max_reconnect_backoff_ms", 1_000),)
# A name with several addresses (a headless Kubernetes Service) means several servers: the gateway's requests are
# spread round-robin. The threaded client does not spread them: it probes the server before each request, and the
# probes would take every other slot.
_TAKING_TURNS = (("grpc.lb_policy_name", "round_robin"),)

RETURN_S = 60.0
"""How long a request waits for a server that was there before: it may be restarting."""

RETURN_POLL_S = 0.2
_ABSENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

PROBE_TIMEOUT_S = 5.0
SILENCE_S = 10.0
"""After this long without a response, ask whether the model's process is still alive.

When the process of a decoupled model dies, Triton 2.51 neither ends the streams that it was answering nor reports that
the model is not ready; only a new request to the model shows it.
"""


class GrpcTransport:
    """Thread-safe."""

    def __init__(self, url: str, silence_s: float = SILENCE_S) -> None:
        self._url = _checked(url)
        self._silence_s = silence_s
        self._channel = grpc.insecure_channel(self._url, options=channel_options(self._url) + _RECONNECTING)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._was_there = False

    def stream(
        self, request: GenerationRequest, timeout_s: float | None, cancel: CancelToken
    ) -> Generator[Response, None, None]:
        """Send ``request`` on a stream of its own and yield the server's responses."""
        self._await_return(timeout_s)
        call = self._stub.ModelStreamInfer(iter([to_message(request)]), timeout=timeout_s)
        with cancel.calling(call.cancel), self._watched(call) as watch:
            try:
                for message in call:
                    self._was_there = True
                    watch.heard.set()
                    yield from_message(message)
            except grpc.RpcError as error:
                raise watch.loss or from_rpc(error, self._url, timeout_s) from None
            finally:
                call.cancel()

    def _await_return(self, timeout_s: float | None) -> None:
        """Give a server that was there before some time; one that never was is reported at once."""
        give_up = time.monotonic() + min(RETURN_S, timeout_s or RETURN_S)
        while self._was_there and not self._answers() and time.monotonic() < give_up:
            time.sleep(RETURN_POLL_S)

    def _answers(self) -> bool:
        try:
            self._stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PROBE_TIMEOUT_S)
        except grpc.RpcError as error:
            return error.code() not in _ABSENT
        return True

    @contextlib.contextmanager
    def _watched(self, call: grpc.Call) -> Iterator["_Watch"]:
        """Inside the block, a thread cancels ``call`` if the model's process dies."""
        watch, over = _Watch(), threading.Event()

        def look() -> None:
            while not over.wait(self._silence_s):
                if watch.was_silent() and isinstance(found := self._loss(), ServerUnavailable):
                    watch.loss = found
                    call.cancel()
                    return

        threading.Thread(target=look, name="insta-depth-watch", daemon=True).start()
        try:
            yield watch
        finally:
            over.set()

    def _loss(self) -> InstaDepthError | None:
        """Return why the model cannot be called, or None where it answers."""
        call = self._stub.ModelStreamInfer(iter([probe_message()]), timeout=PROBE_TIMEOUT_S)
        try:
            return loss(next(call, None))
        except grpc.RpcError as error:
            return from_rpc(error, self._url, PROBE_TIMEOUT_S)
        finally:
            call.cancel()

    def status(self) -> ServerStatus:
        """Ask whether our models can be called."""
        try:
            server = self._stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=PROBE_TIMEOUT_S)
            answers = {name: self._stub.ModelReady(_named(name), timeout=PROBE_TIMEOUT_S) for name in MODELS}
        except grpc.RpcError as error:
            raise from_rpc(error, self._url, PROBE_TIMEOUT_S) from None
        models = {name: answer.ready for name, answer in answers.items()}
        return ServerStatus(server.version, models | {MODEL: models[MODEL] and self._loss() is None})

    def capabilities(self) -> Capabilities:
        """Ask what the served checkpoint offers."""
        try:
            return capabilities_in(self._stub.ModelConfig(config_message(), timeout=PROBE_TIMEOUT_S))
        except grpc.RpcError as error:
            raise from_rpc(error, self._url, PROBE_TIMEOUT_S) from None

    def close(self) -> None:
        """Drop the connection; requests that still run are cancelled."""
        self._channel.close()


class AsyncGrpcTransport:
    """Bound to the event loop in which it is first used."""

    def __init__(self, url: str, silence_s: float = SILENCE_S) -> None:
        self._url = _checked(url)
        self._silence_s = silence_s
        self._channel: grpc.aio.Channel | None = None
        self._was_there = False

    @property
    def _stub(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        if self._channel is None:
            options = channel_options(self._url) + _RECONNECTING + _TAKING_TURNS
            self._channel = grpc.aio.insecure_channel(self._url, options=options)
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def stream(self, request: GenerationRequest, timeout_s: float | None) -> AsyncGenerator[Response, None]:
        """Send ``request`` on a stream of its own and yield the server's responses."""
        await self._await_return(timeout_s)
        call = self._stub.ModelStreamInfer(iter([to_message(request)]), timeout=timeout_s)
        async with self._watched(call) as watch:
            try:
                async for message in call:
                    self._was_there = True
                    watch.heard.set()
                    yield from_message(message)
            except grpc.RpcError as error:
                raise watch.loss or from_rpc(error, self._url, timeout_s) from None
            except asyncio.CancelledError:
                # grpc.aio raises it for a cancelled call, as if the task were cancelled
                if watch.loss is None:
                    raise
                raise watch.loss from None
            finally:
                call.cancel()

    async def _await_return(self, timeout_s: float | None) -> None:
        """Give a server that was there before some time; one that never was is reported at once."""
        if self._channel is not None and self._channel.get_state() is grpc.ChannelConnectivity.READY:
            return  # connected already: saves a round trip
        give_up = time.monotonic() + min(RETURN_S, timeout_s or RETURN_S)
        while self._was_there and not await self._answers() and time.monotonic() < give_up:
            await asyncio.sleep(RETURN_POLL_S)

    async def _answers(self) -> bool:
        try:
            await self._stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PROBE_TIMEOUT_S)
        except grpc.RpcError as error:
            return error.code() not in _ABSENT
        return True

    @contextlib.asynccontextmanager
    async def _watched(self, call: grpc.aio.Call) -> AsyncIterator["_Watch"]:
        """Inside the block, a task cancels ``call`` if the model's process dies."""
        watch = _Watch()

        async def look() -> None:
            while True:
                await asyncio.sleep(self._silence_s)
                if watch.was_silent() and isinstance(found := await self._loss(), ServerUnavailable):
                    watch.loss = found
                    call.cancel()
                    return

        task = asyncio.create_task(look())
        try:
            yield watch
        finally:
            task.cancel()

    async def _loss(self) -> InstaDepthError | None:
        """Return why the model cannot be called, or None where it answers."""
        call = self._stub.ModelStreamInfer(iter([probe_message()]), timeout=PROBE_TIMEOUT_S)
        try:
            return loss(await anext(aiter(call), None))
        except grpc.RpcError as error:
            return from_rpc(error, self._url, PROBE_TIMEOUT_S)
        finally:
            call.cancel()

    async def status(self) -> ServerStatus:
        """Ask whether our models can be called."""
        try:
            server = await self._stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=PROBE_TIMEOUT_S)
            asked = (self._stub.ModelReady(_named(name), timeout=PROBE_TIMEOUT_S) for name in MODELS)
            answers = dict(zip(MODELS, [await each for each in asked], strict=True))
        except grpc.RpcError as error:
            raise from_rpc(error, self._url, PROBE_TIMEOUT_S) from None
        models = {name: answer.ready for name, answer in answers.items()}
        return ServerStatus(server.version, models | {MODEL: models[MODEL] and await self._loss() is None})

    async def capabilities(self) -> Capabilities:
        """Ask what the served checkpoint offers."""
        try:
            return capabilities_in(await self._stub.ModelConfig(config_message(), timeout=PROBE_TIMEOUT_S))
        except grpc.RpcError as error:
            raise from_rpc(error, self._url, PROBE_TIMEOUT_S) from None

    async def close(self) -> None:
        """Drop the connection; requests that still run are cancelled."""
        if self._channel is not None:
            await self._channel.close()


class _Watch:
    """State shared by a stream and its watcher."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self.loss: InstaDepthError | None = None

    def was_silent(self) -> bool:
        """Whether nothing arrived since the last call."""
        silent = not self.heard.is_set()
        self.heard.clear()
        return silent


def _named(model: str) -> service_pb2.ModelReadyRequest:
    return service_pb2.ModelReadyRequest(name=model)


def _checked(url: str) -> str:
    if url.startswith(("http://", "https://")):
        raise InvalidInput(f"url: {url!r} is not host:port of Triton's gRPC, for example 127.0.0.1:8001")
    return url
