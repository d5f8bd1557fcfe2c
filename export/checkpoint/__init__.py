"""A checkpoint's files: where they lie, which of them are read, and reading them without surprises."""

from .adapter import load_ip_adapter
from .layout import Checkpoint, Lora

__all__ = ["Checkpoint", "Lora", "load_ip_adapter"]
