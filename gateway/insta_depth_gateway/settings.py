"""The gateway's settings, read from the environment once, at start."""

import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from insta_depth_gateway.accounts.database import default_database_url

PREFIX = "INSTA_DEPTH_GATEWAY_"

_MIB = 2**20
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Credits = Annotated[Decimal, Field(ge=0, decimal_places=3, max_digits=12)]


class SettingError(ValueError):
    """A variable of the environment is invalid; the message starts with its name."""


class Settings(BaseSettings):
    """The variable of each setting is its name in capitals after ``INSTA_DEPTH_GATEWAY_``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=1, le=65535, description="port to listen on")
    triton_url: str = Field("127.0.0.1:8001", pattern=r"^[^/\s]+:\d+$", description="Triton's gRPC, host:port")
    database_url: SecretStr = Field(
        default_factory=lambda: SecretStr(default_database_url()),
        description="accounts: sqlite:///path or postgresql://user:password@host/name",
    )

    price_base: Credits = Field(Decimal("1"), description="credits a picture costs, whatever its steps")
    price_per_step: Credits = Field(Decimal("0.1"), description="credits that each step adds")
    rate_limit_per_minute: int = Field(0, ge=0, description="requests a key may send in a minute; 0: any number")
    lease_s: Seconds = Field(30, ge=4, description="seconds after which a killed gateway's reservations are returned")

    max_in_flight: Count = Field(8, description="requests at work in Triton; its INSTA_DEPTH_MAX_REQUESTS")
    max_waiting: int = Field(256, ge=0, description="requests that wait for their turn; one more is refused")
    queue_timeout_s: Seconds = Field(300, description="seconds that a request waits for its turn")
    generation_timeout_s: Seconds = Field(300, description="seconds that a picture may take")
    max_body_bytes: Count = Field(48 * _MIB, description="bytes of one request")
    max_buffered_bytes: Count = Field(1024 * _MIB, description="bytes of all requests that are held at once")
    body_timeout_s: Seconds = Field(60, description="seconds that a request's body may take to arrive")

    fetch_urls: bool = Field(False, description="take https URLs of pictures, too, and fetch them")
    fetch_max_bytes: Count = Field(16 * _MIB, description="bytes of a fetched picture")
    fetch_timeout_s: Seconds = Field(10, description="seconds that fetching one may take")

    cors_origins: str = Field(
        "",
        pattern=r"^(\*|\s*https?://[^/\s,*]+\s*(,\s*https?://[^/\s,*]+\s*)*)?$",
        description="pages of other origins that may call: https://a.example, https://b.example, or * for any",
    )

    c2pa_certificate: str = Field(
        "", description="PEM file: sign pictures with this certificate, which its issuers' follow (C2PA)"
    )
    c2pa_key: str = Field("", description="PEM file with the certificate's private key")
    c2pa_timestamp_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="RFC 3161 server whose time is signed, too",
    )

    page: bool = Field(True, description="show the page at /")
    stop_timeout_s: Count = Field(300, description="seconds that requests in flight have when asked to stop")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")

    @property
    def allowed_origins(self) -> list[str]:
        """The origins of `cors_origins`, one by one."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]


def read_settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Read the settings from the environment; ``given`` overrides them.

    Raises `SettingError`. An unknown variable with our prefix is an error too: it would have no effect.
    """
    environment = os.environ if environment is None else environment
    names = {PREFIX + name.upper(): name for name in Settings.model_fields}
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in names:
            raise SettingError(f"{variable}: there is no such setting")
    read = {names[variable]: text for variable, text in environment.items() if variable in names and text}
    try:
        return Settings(**read | given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = PREFIX + str(problem["loc"][0]).upper()
        raise SettingError(f"{name}: {problem['input']!r} is wrong: {problem['msg']}") from None
