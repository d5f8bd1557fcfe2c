"""From a request to a picture: validation, conditioning, the denoising loop and the ticker that shares its steps.

It runs on any `Networks`; nothing here knows of Triton.
"""

from .conditioning import Conditioning, DepthProcessor
from .generation import Audience, Generated, Generation, Progress
from .loop import Denoising, denoise
from .metrics import Metrics, TritonMetrics
from .networks import Networks
from .request import ATTRIBUTES, Attribute, GenerationRequest, parse
from .schedulers import SCHEDULERS, prepare_scheduler
from .settings import SettingError, Settings
from .ticker import Ticker

__all__ = [
    "ATTRIBUTES",
    "SCHEDULERS",
    "Attribute",
    "Audience",
    "Conditioning",
    "Denoising",
    "DepthProcessor",
    "Generated",
    "Generation",
    "GenerationRequest",
    "Metrics",
    "Networks",
    "Progress",
    "SettingError",
    "Settings",
    "Ticker",
    "TritonMetrics",
    "denoise",
    "parse",
    "prepare_scheduler",
]
