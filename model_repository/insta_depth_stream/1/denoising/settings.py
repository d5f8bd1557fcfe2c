"""Deployment settings, read from the environment once, when the model loads."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from insta_depth_shared.marks import METADATA

PREFIX = "INSTA_DEPTH_"
_MINIMA = {"max_rows": 2, "cache_bytes": 0}
"""Of the whole numbers; 1 for the others."""


class SettingError(ValueError):
    """A variable of the environment has no value that it may have."""


@dataclass(frozen=True)
class Settings:
    """Limits of one orchestrator; the variable of each is its name in capitals after ``INSTA_DEPTH_``."""

    max_requests: int = 8
    """Maximum requests in flight; further ones are refused."""
    max_rows: int = 16
    """Maximum rows in one call of ``denoise_step``: at least a guided request's two, at most the engines' batch."""
    rows_per_step: int = 0
    """Rows that a call takes; 0, where the variable is not set: as many as still pay, by the times of earlier calls."""
    max_image_bytes: int = 16 * 2**20
    max_image_pixels: int = 50_000_000
    max_prompt_characters: int = 8192
    cache_bytes: int = 64 * 2**20
    """Answers that are kept: faces and prompts seen before; 0: none."""
    metadata: str = "provenance"
    """What a picture's file says of itself, one of `METADATA`."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, engine_rows: int = max_rows) -> "Settings":
        """Read each setting from ``environment`` (default: the process's own); raises `SettingError`.

        ``engine_rows``: the engines' maximum batch, and the default of ``max_rows``.
        """
        environment = os.environ if environment is None else environment
        names = {field.name: PREFIX + field.name.upper() for field in fields(cls)}
        named = {field: _read(field, name, environment[name]) for field, name in names.items() if name in environment}
        settings = cls(**{"max_rows": engine_rows} | named)
        if settings.max_rows > engine_rows:
            raise SettingError(f"{names['max_rows']}: {settings.max_rows} is above the engines' maximum {engine_rows}")
        return settings


def _read(field: str, name: str, text: str) -> Any:
    if field != "metadata":
        return _whole_number(name, text, _MINIMA.get(field, 1))
    if text not in METADATA:
        raise SettingError(f"{name}: {text!r} is none of {', '.join(METADATA)}")
    return text


def _whole_number(name: str, text: str, minimum: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise SettingError(f"{name}: {text!r} is not a whole number") from None
    if value < minimum:
        raise SettingError(f"{name}: {value} is below the minimum {minimum}")
    return value
