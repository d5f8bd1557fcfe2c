"""One denoising step in one process: the networks, wired as Triton's ensemble wires them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from google.protobuf import text_format
from torch import nn
from tritonclient.grpc import model_config_pb2

from export.engines import Engine, sample_inputs
from export.triton_configs import NAME, OUTPUT, complete_config, ensemble_inputs

from .networks import sizes_of, step_engines
from .options import Options

Tensors = dict[str, torch.Tensor]
Network = Callable[[Mapping[str, torch.Tensor]], Tensors]
"""An engine: inputs by name → outputs by name, all on the device."""

SOURCE = Path(__file__).resolve().parents[2] / "model_repository"


class Step:
    """Runs the ensemble's steps one after the other, in the order of its config."""

    def __init__(self, networks: Mapping[str, Network], config: str) -> None:
        self._networks = networks
        self._wiring = text_format.Parse(config, model_config_pb2.ModelConfig()).ensemble_scheduling.step

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The ensemble's inputs by name → noise_pred (B, 4, h, w)."""
        known = dict(inputs)
        for step in self._wiring:
            made = self._networks[step.model_name]({name: known[outer] for name, outer in step.input_map.items()})
            known |= {outer: made[name] for name, outer in step.output_map.items()}
        return known[OUTPUT]


class TorchNetwork:
    """A module with the engine's own signature as a `Network`."""

    def __init__(self, module: nn.Module, engine: Engine) -> None:
        self._module = module
        self._inputs = [tensor.name for tensor in engine.inputs]
        self._outputs = [tensor.name for tensor in engine.outputs]

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Tensors:
        """Run the module."""
        made = self._module(*(inputs[name] for name in self._inputs))
        return dict(zip(self._outputs, made if isinstance(made, tuple) else (made,), strict=True))


def ensemble_config(options: Options) -> str:
    """The ensemble as it is served, in Triton's text format."""
    return complete_config(SOURCE / NAME / "config.pbtxt", step_engines(options), options.float_type.io_dtype)


def step_inputs(options: Options) -> Tensors:
    """Random inputs of the ensemble on the device, the same in every process."""
    tensors = ensemble_inputs(step_engines(options)).items()
    engine = Engine(NAME, tuple(replace(tensor, name=name) for name, tensor in tensors), ())
    return device_inputs(engine, options)


def device_inputs(engine: Engine, options: Options) -> Tensors:
    """Random inputs of ``engine`` on the device, the same in every process."""
    arrays = sample_inputs(engine, sizes_of(engine, options), options.float_type.io_dtype)
    return {name: torch.from_numpy(array).to(options.torch_device) for name, array in arrays.items()}
