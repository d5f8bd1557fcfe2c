"""The gateway's errors, and the table from error codes to HTTP statuses.

The server's and the client's errors are `insta_depth.InstaDepthError`; those below are the gateway's own.
"""

from decimal import Decimal


class GatewayError(Exception):
    """Root of the gateway's own errors; ``code`` names the kind for machines, ``message`` is for people."""

    code = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(GatewayError):
    """The body or one of its fields is missing, malformed or out of range; the message starts with the field."""

    code = "INVALID_INPUT"


class BodyTooSlow(BadRequest):
    """The body did not arrive in time."""


class BodyTooLarge(GatewayError):
    """The body, or a picture fetched for it, exceeds a limit in bytes."""

    code = "TOO_LARGE"


class Unauthorized(GatewayError):
    """The key is missing, unknown or revoked."""

    code = "UNAUTHORIZED"


class NotFound(GatewayError):
    """No such path."""

    code = "NOT_FOUND"


class MethodNotAllowed(GatewayError):
    """The path does not accept this method; ``allow`` lists those that it accepts."""

    code = "METHOD_NOT_ALLOWED"
    allow = ""


class NotEnoughCredits(GatewayError):
    """The key's balance is below the request's price."""

    code = "NOT_ENOUGH_CREDITS"

    def __init__(self, price: Decimal, balance: Decimal) -> None:
        super().__init__(f"the request costs {price} credits, the key has {balance}")


class RateLimited(GatewayError):
    """The key exceeded its requests per minute; ``retry_after_s`` says when the next one is accepted."""

    code = "RATE_LIMITED"

    def __init__(self, limit_per_minute: int, retry_after_s: int) -> None:
        super().__init__(f"the key may send {limit_per_minute} requests a minute")
        self.retry_after_s = retry_after_s


class Busy(GatewayError):
    """The queue is full, or the request did not get a slot in time."""

    code = "OVERLOADED"


class AccountsUnavailable(GatewayError):
    """The accounts' database does not answer."""

    code = "SERVER_UNAVAILABLE"


STATUS_BY_CODE = {
    "INVALID_INPUT": 400,
    "UNAUTHORIZED": 401,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_ENOUGH_CREDITS": 406,
    "TOO_LARGE": 413,
    "NO_FACE": 422,
    "FACE_TOO_SMALL": 422,
    "FACES_DIFFER": 422,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "ENGINE_FAILED": 500,
    "OVERLOADED": 503,
    "SERVER_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 503,
    "CANCELLED": 503,
}
"""``CANCELLED`` means that the server stops: a caller who cancels reads no status."""
