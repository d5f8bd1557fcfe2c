"""From a request to a picture: validation, conditioning, the denoising loop and the step batcher that shares its steps.

It runs on any `Networks`; nothing here knows of Triton.
"""

from .conditioning import Conditioning, DepthProcessor
from .generation import Generated, Generation, Progress, ProgressListener
from .loop import Denoising, denoise
from .metrics import Metrics, TritonMetrics
from .networks import Networks
from .request import GenerationRequest, parse
from .schedulers import SCHEDULERS, prepare_scheduler
from .settings import SettingError, Settings
from .step_batcher import StepBatcher

__all__ = [
    "SCHEDULERS",
    "Conditioning",
    "Denoising",
    "DepthProcessor",
    "Generated",
    "Generation",
    "GenerationRequest",
    "Metrics",
    "Networks",
    "Progress",
    "ProgressListener",
    "SettingError",
    "Settings",
    "StepBatcher",
    "TritonMetrics",
    "denoise",
    "parse",
    "prepare_scheduler",
]
