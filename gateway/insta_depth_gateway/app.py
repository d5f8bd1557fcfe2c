"""The gateway as an ASGI application: the API, and the page if it is on."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from insta_depth import AsyncInstaDepth, InstaDepthError, __version__
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from insta_depth_gateway import openapi
from insta_depth_gateway.accounts.asynchronous import AsyncLedger
from insta_depth_gateway.accounts.database import connect, migrate
from insta_depth_gateway.accounts.ledger import Ledger
from insta_depth_gateway.answers import answer_error
from insta_depth_gateway.conventions import HttpConventions, with_cors
from insta_depth_gateway.delivery import ClientGone
from insta_depth_gateway.draining import Draining
from insta_depth_gateway.errors import GatewayError
from insta_depth_gateway.fetching import FetchLimits, PictureFetcher
from insta_depth_gateway.observability import Metrics, Observer
from insta_depth_gateway.page import Page
from insta_depth_gateway.reading import BodyReader
from insta_depth_gateway.routes import api
from insta_depth_gateway.service import GenerationService, Signer
from insta_depth_gateway.settings import PREFIX, SettingError, Settings

_ROUTES = [route for route in api.routes if isinstance(route, APIRoute)]
_API_PATHS = frozenset(route.path for route in _ROUTES)
_READABLE_PATHS = frozenset(route.path for route in _ROUTES if "GET" in (route.methods or ())) | {"/openapi.json"}


def create_app(settings: Settings) -> ASGIApp:
    """Return the application.

    This connects to the accounts and updates their tables, so an unusable database is reported before anything listens.
    Raises `DatabaseUrlError`, SQLAlchemy's errors, and `SettingError` for a certificate that cannot sign.
    """
    # A power cut can only undo in the callers' favour: at worst a reservation, or its spending.
    engine = connect(settings.database_url.get_secret_value(), survives_power_cut=False)
    migrate(engine)
    ledger = AsyncLedger(Ledger(engine, settings.lease_s), is_single_writer=engine.dialect.name == "sqlite")
    metrics = Metrics()
    client = AsyncInstaDepth(settings.triton_url)
    service = GenerationService(settings, ledger, client, metrics, _signer(settings))
    metrics.watch(lambda: service.queue.in_flight, lambda: service.queue.waiting)
    return app_over(service, settings, metrics, _lifespan(service, ledger))


def app_over(service: Any, settings: Settings, metrics: Metrics, lifespan: "Lifespan | None" = None) -> ASGIApp:
    """Return the API over ``service``, a `GenerationService` or what stands in for it, and the page if it is on."""
    app = create_api()
    if lifespan:
        app.router.lifespan_context = lifespan
    app.state.service = service
    app.state.metrics = metrics
    app.state.bodies = BodyReader(settings.max_body_bytes, settings.max_buffered_bytes, settings.body_timeout_s)
    app.state.fetcher = _fetcher(settings)
    served = with_cors(HttpConventions(app, _API_PATHS, _READABLE_PATHS), settings.allowed_origins)
    return Observer(Draining(_with_page(served) if settings.page else served), metrics, _API_PATHS)


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Add the schemas that FastAPI does not see."""
        document = super().openapi()
        document["components"]["schemas"].update(openapi.SCHEMAS)
        return document


def create_api() -> FastAPI:
    """Return the API without a service behind it: enough for its OpenAPI document."""
    app = _Api(
        title=openapi.TITLE,
        description=openapi.DESCRIPTION,
        version=__version__,
        docs_url=None,  # its page loads scripts from other sites
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(api)
    for kind in (GatewayError, InstaDepthError, HTTPException, ClientGone, Exception):
        app.add_exception_handler(kind, answer_error)
    return app


def _signer(settings: Settings) -> Signer | None:
    if not settings.c2pa_certificate and not settings.c2pa_key:
        return None
    if importlib.util.find_spec("c2pa") is None:
        raise SettingError(f"{PREFIX}C2PA_CERTIFICATE: pip install 'insta-depth-gateway[c2pa]' for signing pictures")
    from insta_depth_gateway.signing import signer_of

    return signer_of(settings)


def _fetcher(settings: Settings) -> PictureFetcher | None:
    limits = FetchLimits(settings.fetch_max_bytes, settings.fetch_timeout_s)
    return PictureFetcher(limits) if settings.fetch_urls else None


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def _lifespan(service: GenerationService, ledger: AsyncLedger) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        leases = asyncio.create_task(service.keep_leases())
        try:
            yield
        finally:
            leases.cancel()
            await asyncio.wait({leases})
            await service.close()
            if app.state.fetcher is not None:
                await app.state.fetcher.close()
            ledger.close()

    return lifespan


def _with_page(api: ASGIApp) -> ASGIApp:
    page = Page()

    async def page_or_api(scope: Scope, receive: Receive, send: Send) -> None:
        await (page if page.answers(scope) else api)(scope, receive, send)

    return page_or_api
