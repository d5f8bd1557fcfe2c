"""From a request to a picture: validation, conditioning, the denoising loop and the step batcher.

It runs on any `Networks` and does not depend on Triton.
"""

from .conditioning import Conditioning, DepthProcessor
from .loop import Denoising, denoise
from .metrics import Metrics, TritonMetrics
from .networks import Networks
from .pipeline import Pipeline, PipelineOutput, Progress, ProgressListener
from .request import PipelineRequest, parse
from .schedulers import SCHEDULERS, prepare_scheduler
from .self_test import SelfTest
from .settings import SettingError, Settings
from .sharing import Sharing
from .step_batcher import StepBatcher

__all__ = [
    "SCHEDULERS",
    "Conditioning",
    "Denoising",
    "DepthProcessor",
    "Metrics",
    "Networks",
    "Pipeline",
    "PipelineOutput",
    "PipelineRequest",
    "Progress",
    "ProgressListener",
    "SelfTest",
    "SettingError",
    "Settings",
    "Sharing",
    "StepBatcher",
    "TritonMetrics",
    "denoise",
    "parse",
    "prepare_scheduler",
]
