"""The paths of the API."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import APIKeyHeader
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from insta_depth_gateway import openapi
from insta_depth_gateway.accounts.ledger import Account
from insta_depth_gateway.answers import OfferBody, body_of
from insta_depth_gateway.body import PICTURES, GenerationBody
from insta_depth_gateway.delivery import EventAnswer, Events, PictureAnswer, as_base64, last_of, unless_gone
from insta_depth_gateway.errors import BadRequest
from insta_depth_gateway.service import Picture

api = APIRouter()

T = TypeVar("T")

_key = APIKeyHeader(name="x-api-key", auto_error=False, description="As `insta-depth keys create` shows it, once.")


async def _caller(request: Request, secret: Annotated[str | None, Security(_key)]) -> Account:
    """Authenticate before anything else of the request is read."""
    account = await request.app.state.service.authenticate(secret)
    request.state.key = account.name
    return account


async def _paced_caller(request: Request, account: Annotated[Account, Depends(_caller)]) -> Account:
    await request.app.state.service.check_rate(account)
    return account


@api.post("/v1/insta-depth", **openapi.GENERATE)
async def generate(request: Request, account: Annotated[Account, Depends(_paced_caller)]) -> Response:
    """Make a picture of the face's person in the pose, as the prompt says."""
    async with request.app.state.bodies.read(request) as body:
        attributes = await _attributes(request, body)
        picture, events = await _started(request, account, attributes, last_of)
        return _picture_answer(picture, body.base64, events)


@api.post("/v1/insta-depth/stream", **openapi.STREAM)
async def stream(request: Request, account: Annotated[Account, Depends(_paced_caller)]) -> Response:
    """Make a picture and report every step, as server-sent events."""
    async with request.app.state.bodies.read(request) as body:
        attributes = await _attributes(request, body)
        first, events = await _started(request, account, attributes, anext)
        price = request.app.state.service.prices.most(attributes)
        remaining = await request.app.state.service.balance(account)
        return EventAnswer(first, events, {"x-cost": str(price), "x-remaining-credits": str(remaining)}, body_of)


async def _started(
    request: Request, account: Account, attributes: dict[str, Any], until: Callable[[Events], Awaitable[T]]
) -> tuple[T, Events]:
    """Start the request; return the stream and the result of ``until``. Cancel if the caller disconnects."""
    events = request.app.state.service.stream(account, attributes)
    try:
        return await unless_gone(request.receive, until(events)), events
    except BaseException:
        await events.aclose()
        raise


@api.get("/v1/get-user-credits", **openapi.CREDITS)
async def get_user_credits(request: Request, account: Annotated[Account, Depends(_caller)]) -> Response:
    """Tell what the key has left."""
    balance = await request.app.state.service.balance(account)
    return JSONResponse({"credits": float(balance), "free-credits": 0}, headers={"x-remaining-credits": str(balance)})


@api.get("/v1/attributes", **openapi.ATTRIBUTES)
async def attributes(request: Request) -> Response:
    """Tell what a request may say: the page builds its form from it."""
    service = request.app.state.service
    offers = await service.capabilities()
    prices = service.prices
    offer = OfferBody(
        attributes=openapi.attributes(offers.defaults),
        schedulers=list(offers.schedulers),
        default_scheduler=offers.default_scheduler,
        price_base=float(prices.base),
        price_per_step=float(prices.per_step),
    )
    return JSONResponse(offer.model_dump())


@api.get("/healthz", **openapi.HEALTH)
async def healthz() -> Response:
    """Say that the gateway runs."""
    return JSONResponse({"status": "ok"})


@api.get("/readyz", **openapi.READY)
async def readyz(request: Request) -> Response:
    """Say whether requests can be served: the accounts are readable and Triton has our models."""
    await request.app.state.service.check_ready()
    return JSONResponse({"status": "ready"})


@api.get("/metrics", **openapi.METRICS)
async def metrics(request: Request) -> Response:
    """Tell Prometheus."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _attributes(request: Request, body: GenerationBody) -> dict[str, Any]:
    """Return the attributes for the client; fetch pictures given by URL."""
    attributes = body.attributes()
    if "num_inference_steps" not in attributes:
        attributes["num_inference_steps"] = await request.app.state.service.usual_steps()
    for name in PICTURES:
        given = attributes[name]
        if isinstance(given, list):
            named = ((f"{name}[{place}]", picture) for place, picture in enumerate(given))
            attributes[name] = [await _picture(request, *each) for each in named]
        else:
            attributes[name] = await _picture(request, name, given)
    return attributes


async def _picture(request: Request, name: str, given: bytes) -> bytes:
    """Return a picture as it was given, or what its URL leads to."""
    is_url = given[:64].lstrip()[:8].lower().startswith((b"https:", b"http:"))
    return await _fetched(request, name, given) if is_url else given


async def _fetched(request: Request, name: str, url: bytes) -> bytes:
    fetcher = request.app.state.fetcher
    if fetcher is None:
        raise BadRequest(f"{name}: is a URL, which this gateway does not fetch; send the picture in base64")
    try:
        return await fetcher.fetch(name, url.decode().strip())
    except UnicodeDecodeError:
        raise BadRequest(f"{name}: is a URL that is not UTF-8") from None


def _picture_answer(picture: Picture, in_base64: bool, events: Events) -> PictureAnswer:
    image, headers = picture.generation.image, _headers(picture)
    if in_base64:
        # base64 needs no escaping in JSON
        return PictureAnswer(f'{{"image": "{as_base64(image)}"}}'.encode(), "application/json", headers, events)
    return PictureAnswer(image, f"image/{picture.generation.output_format}", headers, events)


def _headers(picture: Picture) -> Mapping[str, str]:
    return {
        "x-remaining-credits": str(picture.remaining),
        "x-cost": str(picture.cost),
        "x-seed": str(picture.generation.seed),
        "x-generation-time": f"{picture.generation_ms / 1000:.3f}",
        "x-queue-time": f"{picture.queue_ms / 1000:.3f}",
        **({"x-warnings": "; ".join(warnings)} if (warnings := picture.generation.warnings) else {}),
    }
