"""Responses without a picture: one body for all errors, and their headers."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import Request
from insta_depth import InstaDepthError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from insta_depth_gateway.delivery import ClientGone
from insta_depth_gateway.errors import (
    STATUS_BY_CODE,
    BadRequest,
    BodyTooSlow,
    GatewayError,
    MethodNotAllowed,
    NotFound,
    RateLimited,
)

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
_CODES = sorted(STATUS_BY_CODE)
_SAID_INSTEAD = {
    "INTERNAL": "the server had an issue with processing the request",
    "ENGINE_FAILED": "the server had an issue with processing the request",
    "SERVER_UNAVAILABLE": "the server is starting or away; try again later",
}
_GONE = 499
"""Logged if the caller has disconnected; nobody receives it."""


class ErrorBody(BaseModel):
    """Why there is no picture."""

    error: str = Field(description="What is wrong, for people: the field, its value and the limit.")
    code: str = Field(description="The kind of error, for machines.", json_schema_extra={"enum": [*_CODES]})


class CreditsBody(BaseModel):
    """The key's balance."""

    credits: float = Field(description="Credits that can be spent.")
    free_credits: float = Field(0, alias="free-credits", description="Always 0: there are none here.")


class OfferBody(BaseModel):
    """What a request may say, and what it costs."""

    attributes: dict[str, dict[str, Any]] = Field(description="Each attribute's JSON schema, by name.")
    schedulers: list[str] = Field(description="Those that the served checkpoint offers; none while Triton is away.")
    default_scheduler: str | None = Field(description="The one that is used where a request names none.")
    price_base: float = Field(description="Credits of a picture without its steps.")
    price_per_step: float = Field(description="Credits of each step.")


def known(error: Exception) -> GatewayError | InstaDepthError:
    """Return ``error`` if it is one of ours; else log it and return a general one."""
    if isinstance(error, GatewayError | InstaDepthError):
        return error
    logger.error("a request failed", exc_info=error)
    return GatewayError("the request could not be processed")


def body_of(error: Exception) -> dict[str, str]:
    """Return the error body, without what only concerns the operator, which is in the log."""
    mine = known(error)
    said = _SAID_INSTEAD.get(mine.code) if isinstance(mine, InstaDepthError) else None
    if said is not None:
        logger.error("%s: %s", mine.code, mine.message)
    return {"error": said or mine.message, "code": mine.code}


async def answer_error(request: Request, error: Exception) -> Response:
    """Return the response for a request's error, with a known key's balance."""
    if isinstance(error, ClientGone):
        return Response(status_code=_GONE)
    error = _routing_error(request, error) if isinstance(error, HTTPException) else error
    body = body_of(error)
    request.state.code = body["code"]
    status = STATUS_BY_CODE[body["code"]]
    return JSONResponse(body, status, {**_headers(error, status), **await _remaining(request)})


def _routing_error(request: Request, error: HTTPException) -> GatewayError:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(f"{request.url.path[:100]}: there is no such path")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        raised = MethodNotAllowed(f"{request.method[:20]}: {request.url.path[:100]} does not take it")
        raised.allow = (error.headers or {}).get("Allow", "")
        return raised
    return BadRequest(str(error.detail))


def _headers(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, RateLimited):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, BodyTooSlow):
        return {"Connection": "close"}
    if isinstance(error, MethodNotAllowed) and error.allow:
        return {"Allow": error.allow}
    return {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}


async def _remaining(request: Request) -> dict[str, str]:
    service, secret = request.app.state.service, request.headers.get("x-api-key")
    try:
        balance = await service.balance(await service.authenticate(secret))
    except Exception:  # an unknown key, or accounts that cannot be read: answer without the balance
        return {}
    return {"x-remaining-credits": str(balance)}
