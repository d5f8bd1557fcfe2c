"""The schedulers that a request may name: diffusers' own classes, configured for the checkpoint's training."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
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
"""The checkpoint's own: the class that its ``scheduler_config.json`` names, with that file's settings."""

_DPMPP_2M = {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
}

SCHEDULERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, _DPMPP_2M),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, _DPMPP_2M | {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
    "ddim": (DDIMScheduler, {}),
    CHECKPOINT: (None, {}),
}
"""Name in a request → the class and its settings. A checkpoint offers those that suit it."""

SDXL_SAMPLING: Mapping[str, Any] = {
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
}
"""SDXL base's sampling settings, from its published ``scheduler_config.json``; the rest are the class's defaults."""

TRAINING_FIELDS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "use_flow_sigmas",
    "flow_shift",
)
"""The settings that describe the UNet, not the sampler: they are the same for every scheduler."""


def prepare_scheduler(
    name: str, num_inference_steps: int, config: Mapping[str, Any], timesteps: Sequence[int] = ()
) -> Any:
    """Return a new scheduler for one request, with its timesteps set: ``timesteps``, or else its own choice.

    Raises `InvalidInput` if the training has fewer timesteps.
    """
    scheduler = build_scheduler(name, config)
    maximum = most_steps(scheduler)
    if num_inference_steps > maximum:
        raise InvalidInput(
            f"num_inference_steps: {num_inference_steps} is above the maximum {maximum} of the scheduler {name}"
        )
    if timesteps:
        scheduler.set_timesteps(timesteps=list(timesteps))
    elif num_inference_steps > distilled_steps(scheduler):
        scheduler.set_timesteps(num_inference_steps, original_inference_steps=num_inference_steps)
    else:
        scheduler.set_timesteps(num_inference_steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # else it looks up its first timestep, and takes the second of two equal ones
    return scheduler


def build_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """Return the scheduler ``name`` for a checkpoint with this ``scheduler_config.json``.

    A name with the checkpoint's own class keeps the whole file. All others take the training settings from the
    file, and the sampling settings from SDXL: the file's are for another sampler.
    """
    own_class = getattr(diffusers, config["_class_name"])
    named_class, settings = SCHEDULERS[name]
    if named_class in (None, own_class):
        return _built(own_class, {**config, **settings})
    return _built(named_class, {**sampling_on(_built(own_class, config).config), **settings})


def _built(scheduler_class: Any, config: Mapping[str, Any]) -> Any:
    """Return ``scheduler_class`` with the settings that it knows: diffusers warns about unknown ones."""
    known = inspect.signature(scheduler_class.__init__).parameters
    return scheduler_class(**{name: value for name, value in config.items() if name in known})


def sampling_on(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return SDXL's sampling settings on the training of a scheduler's whole configuration, ``own``."""
    training = {name: own[name] for name in TRAINING_FIELDS if name in own}
    # Only "trailing" visits the last timestep, the one without any signal.
    spacing = {"timestep_spacing": "trailing"} if training.get("rescale_betas_zero_snr") else {}
    return {**SDXL_SAMPLING, **training, **spacing}


def most_steps(scheduler: Any) -> int:
    """Return the maximum number of steps of ``scheduler``: the timesteps of its training."""
    return _setting(scheduler, "num_train_timesteps")


def distilled_steps(scheduler: Any) -> int:
    """Return the number of steps from which a sampler for distilled networks takes some; others take any number."""
    return _setting(scheduler, "original_inference_steps")


def _setting(scheduler: Any, name: str) -> int:
    known = name in inspect.signature(type(scheduler).__init__).parameters
    return scheduler.config[name] if known else sys.maxsize
