"""The schedulers that a request may name: diffusers' own classes, on the checkpoint's own configuration."""

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from insta_depth_shared.errors import InvalidInput

CHECKPOINT = "checkpoint"
"""The class that the checkpoint's ``scheduler_config.json`` names."""

SCHEDULERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
    "ddim": (DDIMScheduler, {}),
    CHECKPOINT: (None, {}),
}
"""Name in a request → the class and what it overrides in the checkpoint's configuration."""


def prepare_scheduler(name: str, num_inference_steps: int, config: Mapping[str, Any]) -> Any:
    """Return a scheduler of its own for one request, its timesteps set.

    Raises `InvalidInput` where the scheduler knows fewer steps: LCM's are taken from those it was distilled on.
    """
    named_class, overrides = SCHEDULERS[name]
    scheduler_class = named_class or getattr(diffusers, config["_class_name"])
    scheduler = scheduler_class.from_config(dict(config), **overrides)
    limit = scheduler.config.get("original_inference_steps", num_inference_steps)
    if num_inference_steps > limit:
        raise InvalidInput(
            f"num_inference_steps: {num_inference_steps} is above the maximum {limit} of the scheduler {name}"
        )
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


def step_options(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    """Return what ``scheduler.step`` takes beyond its three tensors.

    A scheduler that draws noise draws it from the request's own generator.
    """
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": generator} if takes_generator else {}


def predicted_original(scheduler: Any, output: Any) -> torch.Tensor:
    """Return the clean latents that the last step foresees, as nearly as the scheduler tells."""
    if getattr(output, "pred_original_sample", None) is not None:
        return output.pred_original_sample
    if getattr(output, "denoised", None) is not None:
        return output.denoised
    if scheduler.config.get("algorithm_type") == "dpmsolver++" or scheduler.config.get("predict_x0"):
        return scheduler.model_outputs[-1]
    return output.prev_sample
