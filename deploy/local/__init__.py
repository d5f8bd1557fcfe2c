"""Triton on a laptop or in CI: the real server from a wheel, without a container and without a GPU."""

from .errors import LocalTritonError
from .server import ON_FREE_PORTS, LocalTriton, Options

__all__ = ["ON_FREE_PORTS", "LocalTriton", "LocalTritonError", "Options"]
