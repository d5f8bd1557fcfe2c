"""Made once for a set of networks and kept: inputs, the answer that rows are compared with, ONNX files, plans."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.engines import Engine
from export.onnx_export import export_onnx

from .networks import build, engines, sizes_of, step_engines
from .options import NotHere, Options
from .step import Step, TorchNetwork, ensemble_config, step_inputs

INPUTS, REFERENCE = "inputs.npz", "reference.npy"


def save_inputs(options: Options) -> Path:
    """Write the ensemble's inputs for the model that drives it inside Triton."""
    path = options.artefacts / INPUTS
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: tensor.cpu().numpy() for name, tensor in step_inputs(options).items()}
    np.savez(path, allow_pickle=False, **arrays)
    return path


def make_reference(options: Options) -> None:
    """Compute the step's noise_pred in float32 from the same weights and inputs, and keep it."""
    path = options.artefacts / REFERENCE
    if path.exists():
        return
    step = step_engines(options).items()
    networks = {name: TorchNetwork(build(name, options, torch.float32), engine) for name, engine in step}
    inputs = {name: tensor.float() for name, tensor in step_inputs(options).items()}
    answer = Step(networks, ensemble_config(options))(inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, answer.cpu().numpy())


def largest_difference(actual: torch.Tensor, expected: np.ndarray) -> float:
    """The largest difference of two arrays as a share of the largest value that is expected."""
    wanted = expected.astype(np.float32)
    return float(np.abs(actual.float().cpu().numpy() - wanted).max() / np.abs(wanted).max())


def difference(options: Options, noise_pred: torch.Tensor) -> float:
    """The largest difference of ``noise_pred`` to the reference, as a share of the reference's largest value."""
    return largest_difference(noise_pred, np.load(options.artefacts / REFERENCE))


def onnx_path(options: Options, name: str) -> Path:
    """Where engine ``name`` lies once `prepare_onnx` has made it."""
    return options.artefacts / "onnx" / name / "model.onnx"


def prepare_onnx(options: Options, names: Iterable[str]) -> None:
    """Export the networks ``names`` that are not there yet, each in a process of its own at the same time."""
    missing = [name for name in names if not onnx_path(options, name).exists()]
    command = [sys.executable, "-m", __package__, *options.arguments(), "--export"]
    children = {
        name: subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True, encoding="utf-8")
        for name in missing
    }
    said = {name: child.communicate()[1] for name, child in children.items()}
    for name, child in children.items():
        if child.returncode:
            raise RuntimeError(f"export of {name} failed: {said[name].strip().splitlines()[-1:]}")


def export(options: Options, name: str) -> None:
    """Be such a process: write one network, whole or not at all."""
    path = onnx_path(options, name)
    unfinished = path.parent.with_name(f"{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    module = build(name, options).to("cpu")
    export_onnx(module, engines(options)[name], unfinished / path.name, options.float_type)
    shutil.rmtree(path.parent, ignore_errors=True)
    unfinished.rename(path.parent)


def plan_path(options: Options, name: str) -> Path:
    """Where the plan of engine ``name`` lies once `prepare_plans` has made it: a plan is bound to GPU and version."""
    return options.artefacts / "plans" / f"{_tensorrt_version(options)}-{_gpu(options)}" / name / "model.plan"


def prepare_plans(options: Options, names: Iterable[str]) -> None:
    """Build the plans that are not there yet, one after the other: TensorRT chooses kernels by timing them."""
    plans = {name: plan_path(options, name) for name in names}
    prepare_onnx(options, plans)
    for name, plan in plans.items():
        if not plan.exists():
            _build_plan(options, engines(options)[name], onnx_path(options, name), plan)


def _build_plan(options: Options, engine: Engine, onnx: Path, plan: Path) -> None:
    """The one place that knows how `export.plans` builds."""
    from export.plans.build import Builder, build_plan

    sizes = sizes_of(engine, options)
    ranges: dict[str, Any] = {symbol: (sizes[symbol],) * 3 for symbol in engine.symbols}
    builder = Builder(timing_cache=options.folder.resolve() / "tensorrt-timing.cache")
    build_plan(engine, onnx, plan, options.float_type.io_dtype, [ranges], builder)


def _tensorrt_version(options: Options) -> str:
    try:
        import tensorrt
    except ImportError as error:
        raise NotHere("tensorrt, which is not installed") from error
    if not options.is_on_gpu:
        raise NotHere("a GPU, which TensorRT needs")
    return str(tensorrt.__version__)


def _gpu(options: Options) -> str:
    return torch.cuda.get_device_name(options.torch_device).replace(" ", "-")


def link(source: Path, folder: Path) -> None:
    """Let a model's file and those beside it appear in ``folder`` without a copy of their gigabytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.parent.iterdir():
        try:
            os.link(file, folder / file.name)
        except OSError:  # another file system
            shutil.copy(file, folder)
