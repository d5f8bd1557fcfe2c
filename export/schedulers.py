"""The schedulers that a checkpoint offers: those that reach the picture with a perfect network."""

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from denoising.parametrisation import EdmTraining, Training, prediction_of, training_of
from denoising.schedulers import (
    CHECKPOINT,
    SCHEDULERS,
    SDXL_SAMPLING,
    build_scheduler,
    most_steps,
    prepare_scheduler,
    sampling_on,
)
from denoising.trajectory import Trajectory

from insta_depth_shared.attributes import DEFAULTS

from .errors import CheckpointError
from .few_steps import Recipe

USUAL_STEPS = DEFAULTS["num_inference_steps"]
STEP_COUNTS = (4, USUAL_STEPS, 100)
"""The minimum, the default and the maximum steps of a request."""
END_TOLERANCE = 0.1
"""Of the clean latents' deviation. Published samplers may leave the noise of the first timestep: 0.03 for SDXL's."""
NOISE_TOLERANCE = 1.5
"""Maximum factor between the noise in the network's input and that of the timestep; rounded timesteps give 1.2."""

_SHAPE = (1, 4, 32, 32)
_SDXL = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    **SDXL_SAMPLING,
}
"""SDXL base's published configuration."""


@dataclass(frozen=True)
class Schedulers:
    """``config``: the checkpoint's own, ``_class_name`` included; ``offered``: names that a request may give."""

    config: dict[str, Any]
    offered: tuple[str, ...]
    default: str


class Misfit(Exception):
    """A scheduler cannot be built, or does not fit the checkpoint's training; the text says why."""


def read_schedulers(base: Path, few_steps: Recipe | None = None) -> Schedulers:
    """Return the schedulers that fit the checkpoint's ``scheduler_config.json``.

    With ``few_steps``, its scheduler on the checkpoint's training is the checkpoint's own.
    Raises `CheckpointError` if the checkpoint's own scheduler cannot be used.
    """
    path = base / "scheduler" / "scheduler_config.json"
    config = _read_object(path)
    index = base / "model_index.json"
    # diffusers' pipelines take the class from their index, and only the settings from the scheduler's file.
    named = _read_object(index).get("scheduler") if index.exists() else None
    if isinstance(named, list) and named and isinstance(named[-1], str):
        config["_class_name"] = named[-1]
    try:
        _check_class(config)
        training = _training(config)
        if few_steps is not None:
            config = _distilled(config, few_steps)
        _try(CHECKPOINT, config, training)
    except Misfit as misfit:
        raise CheckpointError(f"{path}: {_explained(config, misfit)}") from misfit
    offered = [name for name in SCHEDULERS if name == CHECKPOINT or _fits(name, config, training)]
    return Schedulers(config, tuple(offered), _default(config, offered))


def _distilled(config: Mapping[str, Any], few_steps: Recipe) -> dict[str, Any]:
    """Return the publisher's scheduler: its settings on SDXL's, whatever sampler the base is configured for."""
    own = build_scheduler(CHECKPOINT, config).config
    return {"_class_name": few_steps.scheduler, **sampling_on(own), **few_steps.settings}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {type(content).__name__}, and a JSON object is needed")
    return content


def _check_class(config: Mapping[str, Any]) -> None:
    name = config.get("_class_name")
    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    lacking = [each for each in getattr(found, "_backends", ()) if each != "torch"]
    if lacking:
        raise Misfit(f"{name} needs {' and '.join(lacking)}, which is not among our packages; name another scheduler")
    if not (inspect.isclass(found) and issubclass(found, diffusers.SchedulerMixin)):
        raise Misfit(
            f"_class_name: {name!r} is no scheduler of diffusers {diffusers.__version__}; "
            "SDXL's is EulerDiscreteScheduler"
        )
    for method in ("set_timesteps", "scale_model_input", "step"):
        if not hasattr(found, method):
            raise Misfit(f"{name} has no {method}, which SDXL's pipeline calls: it is made for another kind of model")


def _training(config: Mapping[str, Any]) -> Training:
    with _misfits():
        return training_of(build_scheduler(CHECKPOINT, config).config)


def _fits(name: str, config: Mapping[str, Any], training: Training) -> bool:
    try:
        _try(name, config, training)
    except Misfit:
        return False
    return True


def _try(name: str, config: Mapping[str, Any], training: Training) -> None:
    """Raise `Misfit` unless ``name`` reaches the picture with a perfect network."""
    with _misfits():
        maximum = most_steps(build_scheduler(name, config))
        if maximum < USUAL_STEPS:
            raise Misfit(f"it takes {maximum} steps at most, and {USUAL_STEPS} are the default")
        for steps in STEP_COUNTS:
            scheduler = prepare_scheduler(name, min(steps, maximum), config)
            _follow(scheduler, training)


@contextmanager
def _misfits() -> Iterator[None]:
    """Turn any error of a scheduler inside the block into `Misfit`: its settings come from a file."""
    try:
        yield
    except Misfit:
        raise
    except Exception as error:
        text = textwrap.shorten(str(error), 200, placeholder=" …").rstrip(".")
        raise Misfit(text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}") from error


def _follow(scheduler: Any, training: Training) -> None:
    """Run every step with a perfect network; raise `Misfit` if the result is wrong."""
    generator = torch.Generator().manual_seed(0)
    deviation = training.sigma_data if isinstance(training, EdmTraining) else 1.0
    clean, noise = torch.randn((2, *_SHAPE), generator=generator)
    clean = clean * deviation
    trajectory = Trajectory(scheduler, noise, generator)
    while not trajectory.is_finished:
        sample, timestep = trajectory.network_input(), trajectory.timestep
        signal_level, noise_level = training.levels(timestep)
        seen = _deviation(sample - signal_level * clean)
        if not noise_level / NOISE_TOLERANCE <= seen <= noise_level * NOISE_TOLERANCE:
            raise Misfit(
                f"at timestep {timestep:g} the UNet was trained on noise of {noise_level:.3g}, and would see {seen:.3g}"
            )
        trajectory.advance(prediction_of(training, sample, clean, timestep))
    error = _deviation(trajectory.latents - clean) / deviation
    if not error <= END_TOLERANCE:
        raise Misfit(f"a UNet that knows the picture would miss it by {error:.0%} after {trajectory.step} calls")


def _deviation(values: torch.Tensor) -> float:
    return values.square().mean().sqrt().item()


def _explained(config: Mapping[str, Any], misfit: Misfit) -> str:
    """Return the error text for a checkpoint's own scheduler, naming the fields at fault if there are any."""
    if not _is_scheduler(config):
        return str(misfit)
    blamed = [_found_and_needed(config, field) for field in _fields_to_blame(config)]
    return f"{config['_class_name']}: " + (f"{'; '.join(blamed)} ({misfit})" if blamed else str(misfit))


def _found_and_needed(config: Mapping[str, Any], field: str) -> str:
    default = _class_defaults(config)[field]
    found = f"is {json.dumps(config[field])}" if field in config else f"is left out and so {json.dumps(default)}"
    return f"{field} {found}, where {json.dumps(_SDXL.get(field, default))} works"


def _fields_to_blame(config: Mapping[str, Any]) -> list[str]:
    """Return the smallest set of fields at fault: with SDXL's or the class's values for them, the scheduler works."""
    defaults = _class_defaults(config)
    needed = {name: _SDXL.get(name, default) for name, default in defaults.items()}
    blamed = {name: value for name, value in needed.items() if repr(config.get(name, defaults[name])) != repr(value)}
    if not _works({**config, **blamed}):
        return []
    for field in list(blamed):
        others = {name: value for name, value in blamed.items() if name != field}
        if _works({**config, **others}):
            blamed = others
    return list(blamed)


def _works(config: Mapping[str, Any]) -> bool:
    try:
        _try(CHECKPOINT, config, _training(config))
    except Misfit:
        return False
    return True


def _class_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(getattr(diffusers, config["_class_name"]).__init__).parameters
    return {name: each.default for name, each in parameters.items() if each.default is not each.empty}


def _is_scheduler(config: Mapping[str, Any]) -> bool:
    try:
        _check_class(config)
    except Misfit:
        return False
    return True


def _default(config: Mapping[str, Any], offered: Sequence[str]) -> str:
    """Return the name of the checkpoint's own scheduler."""
    own = build_scheduler(CHECKPOINT, config)
    for name in offered:
        same = build_scheduler(name, config)
        if type(same) is type(own) and _fields(same) == _fields(own):
            return name
    return CHECKPOINT


def _fields(scheduler: Any) -> dict[str, Any]:
    return {
        name: scheduler.config[name]
        for name in _class_defaults(scheduler.config | {"_class_name": type(scheduler).__name__})
    }
