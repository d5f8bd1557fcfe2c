"""A checkpoint's files: where they are, which ones are used, and reading them safely."""

from .adapter import load_ip_adapter
from .layout import PARTS, Checkpoint, Lora

__all__ = ["PARTS", "Checkpoint", "Lora", "load_ip_adapter"]
