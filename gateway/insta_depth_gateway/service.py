"""A picture for credits: reserve, wait in the queue, generate, and spend once the picture is delivered."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from uuid import uuid4

from cachetools import TTLCache
from insta_depth import (
    AsyncInstaDepth,
    Capabilities,
    Generation,
    GenerationRequest,
    InstaDepthError,
    Overloaded,
    Progress,
    ServerUnavailable,
)

from insta_depth_gateway.accounts.asynchronous import AsyncLedger
from insta_depth_gateway.accounts.ledger import Account, without_zeros
from insta_depth_gateway.admission import AdmissionQueue, RateLimiter
from insta_depth_gateway.body import GenerationBody
from insta_depth_gateway.errors import AccountsUnavailable, NotEnoughCredits, Unauthorized
from insta_depth_gateway.observability import Metrics
from insta_depth_gateway.pricing import Prices
from insta_depth_gateway.settings import Settings

logger = logging.getLogger(__name__)

_DEFAULT_STEPS: int = GenerationBody.model_fields["num_inference_steps"].default
_FULL_RETRY_S = 0.25
_OFFERS, _OFFERS_S = "capabilities", 30.0
_KNOWN_MAX, _KNOWN_S = 1024, 1.0
"""Keys are cached for a second. Reserving credits always asks the database, so a revoked key cannot."""


@dataclass(frozen=True)
class Picture:
    """The last event of a stream. ``cost`` and ``remaining`` in credits; times in milliseconds."""

    generation: Generation
    cost: Decimal
    remaining: Decimal
    queue_ms: float
    generation_ms: float


class Signer(Protocol):
    """What signs pictures: `signing.PictureSigner`, where its packages are installed."""

    def sign(self, content: bytes, output_format: str) -> bytes:
        """Return the file with its signature."""
        ...


class GenerationService:
    """The logic shared by the endpoints and the page; pictures are validated by the server."""

    def __init__(
        self,
        settings: Settings,
        ledger: AsyncLedger,
        client: AsyncInstaDepth,
        metrics: Metrics,
        signer: Signer | None = None,
    ) -> None:
        self.settings = settings
        self._accounts = ledger
        self._client = client
        self._metrics = metrics
        self._signer = signer
        self.prices = Prices(settings.price_base, settings.price_per_step)
        self.queue = AdmissionQueue(settings.max_in_flight, settings.max_waiting, settings.queue_timeout_s)
        self._rate_limiter = RateLimiter(settings.rate_limit_per_minute)
        self._known: TTLCache[str, Account] = TTLCache(_KNOWN_MAX, _KNOWN_S)
        self._offers: TTLCache[str, Capabilities] = TTLCache(1, _OFFERS_S)
        self._settling: set[asyncio.Task[bool]] = set()
        self._unsettled: set[_Hold] = set()
        """Holds of ended requests that the database could not close."""

    async def authenticate(self, secret: str | None) -> Account:
        """Return the account of a secret, which may have been revoked within the last second. Raises `Unauthorized`."""
        if not secret:
            raise Unauthorized("x-api-key: the header is missing")
        if known := self._known.get(secret):
            return known
        account = await self._accounts.run(self._accounts.ledger.find, secret)
        if account is None:
            raise Unauthorized("x-api-key: the key is unknown or was revoked")
        self._known[secret] = account
        return account

    async def check_rate(self, account: Account) -> None:
        """Count one request of the account. Raises `RateLimited`."""
        await self._rate_limiter.check(account)

    async def usual_steps(self) -> int:
        """Return the steps of a request that leaves them out: the served checkpoint's, which may be one for few."""
        return (await self.capabilities()).defaults.get("num_inference_steps", _DEFAULT_STEPS)

    async def stream(self, account: Account, attributes: dict[str, Any]) -> AsyncGenerator[Progress | Picture, None]:
        """Yield a `Progress` after each step and, last, the `Picture`.

        ``attributes`` are `GenerationRequest`'s; the steps have to be among them, because they are paid for.

        Resumed after the picture, it spends the price; closed before that, it cancels the work and returns the price.
        Raises an `InstaDepthError` or a `GatewayError`.
        """
        GenerationRequest(**attributes)  # reject what cannot be sent before credits are reserved
        most = self.prices.most(attributes)
        async with self._held(account, most) as hold:
            times = _Times()
            async with self.queue.slot(account.id), aclosing(self._events(attributes, times)) as events:
                async for event in events:
                    if isinstance(event, Progress):
                        yield event
            times.done_s = time.monotonic()
            self._metrics.generated(times.queue_ms, times.generation_ms)
            generation = await self._signed(_finished(event))
            # A gateway without processor time may have lost the reservation to another one's clean-up.
            await self._accounts.run(self._accounts.ledger.confirm, account, most, hold.id)
            hold.price = self.prices.actual(attributes, generation.refined)
            remaining = hold.remaining + most - hold.price
            yield Picture(generation, hold.price, without_zeros(remaining), times.queue_ms, times.generation_ms)
            hold.is_delivered = True

    async def check_ready(self) -> None:
        """Check that the accounts and Triton answer. Raises `AccountsUnavailable`, `ServerUnavailable`."""
        await self._accounts.run(self._accounts.ledger.ping)
        if not (await self._client.status()).ready:
            raise ServerUnavailable("Triton has not loaded our models yet")

    async def capabilities(self) -> Capabilities:
        """Return what the served checkpoint offers; nothing if Triton is down. Cached for half a minute."""
        if _OFFERS not in self._offers:
            try:
                self._offers[_OFFERS] = await self._client.capabilities()
            except InstaDepthError:
                return Capabilities()
        return self._offers[_OFFERS]

    async def balance(self, account: Account) -> Decimal:
        """Return the account's balance."""
        return await self._accounts.run(self._accounts.ledger.balance, account)

    async def keep_leases(self) -> None:
        """Until cancelled, extend the deadlines of our reservations and return expired ones.

        Close what the database could not before: extended again and again, it would be held for ever.
        """
        ledger = self._accounts.ledger
        while True:
            try:
                await self._accounts.run(ledger.renew)
                for hold in list(self._unsettled):
                    await self._settle(hold)
                returned = await self._accounts.run(ledger.return_expired)
                self._metrics.returned(returned)
            except Exception:  # a temporary database failure must not end the renewing
                logger.exception("leases were not renewed")
            await asyncio.sleep(self.settings.lease_s / 4)

    async def close(self) -> None:
        """Wait until every reservation of a finished request is spent or returned, and disconnect from Triton."""
        if self._settling:
            await asyncio.wait(self._settling)
        await self._client.close()

    async def _signed(self, generation: Generation) -> Generation:
        """Sign the picture, where the operator wants that, before it is paid for."""
        if self._signer is None:
            return generation
        signed = await asyncio.to_thread(self._signer.sign, generation.image, generation.output_format)
        return dataclasses.replace(generation, image=signed)

    async def _events(self, attributes: dict[str, Any], times: "_Times") -> AsyncGenerator[Progress | Generation, None]:
        """Ask Triton. If other gateways fill it, retry until this request's queue timeout."""
        give_up_s = time.monotonic() + self.settings.queue_timeout_s
        while True:
            times.asked_s = time.monotonic()
            try:
                events = self._client.stream(deadline_s=self.settings.generation_timeout_s, **attributes)  # type: ignore[arg-type]
                async with aclosing(events):
                    async for event in events:
                        yield event
                return
            except Overloaded:
                if time.monotonic() > give_up_s:
                    raise
            await asyncio.sleep(_FULL_RETRY_S)

    @asynccontextmanager
    async def _held(self, account: Account, price: Decimal) -> AsyncIterator["_Hold"]:
        ledger, hold = self._accounts.ledger, _Hold(uuid4().hex, price)
        try:
            hold.remaining = await self._accounts.run(ledger.reserve, account, price, hold.id)
            yield hold
        except NotEnoughCredits:
            hold.is_empty = True
            raise
        finally:
            if not hold.is_empty:
                await self._finish(self._settle(hold))

    async def _settle(self, hold: "_Hold") -> bool:
        ledger = self._accounts.ledger
        try:
            if hold.is_delivered:
                is_closed = await self._accounts.run(ledger.spend, hold.id, hold.price)
            else:
                is_closed = await self._accounts.run(ledger.give_back, hold.id)
        except AccountsUnavailable:
            self._unsettled.add(hold)
            raise
        self._unsettled.discard(hold)
        if not is_closed:
            logger.warning("a reservation had run out", extra={"reservation": hold.id})
        elif hold.is_delivered:
            self._metrics.spent(hold.price)
        return is_closed

    async def _finish(self, settling: Coroutine[Any, Any, bool]) -> None:
        """Run to completion even if the request's own task is cancelled."""
        task = asyncio.create_task(settling)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)


@dataclass
class _Times:
    """The times of a request, in seconds of the monotonic clock."""

    reserved_s: float = field(default_factory=time.monotonic)
    asked_s: float = 0.0
    """When Triton was asked, for the last time if it was full before."""
    done_s: float = 0.0

    @property
    def queue_ms(self) -> float:
        return (self.asked_s - self.reserved_s) * 1000

    @property
    def generation_ms(self) -> float:
        return (self.done_s - self.asked_s) * 1000


@dataclass(eq=False)
class _Hold:
    """A request's reservation. ``price``: what is spent of it; before the picture is made, all."""

    id: str
    price: Decimal
    remaining: Decimal = Decimal(0)
    is_empty: bool = False
    is_delivered: bool = False


def _finished(event: Progress | Generation) -> Generation:
    if isinstance(event, Progress):
        raise TypeError("a stream of the client ends with a generation")
    return event
