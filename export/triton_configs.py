"""What export completes in ``config.pbtxt``: the ensemble, a request's inputs, and each engine's tensors and warm-up.

The ensemble is all ControlNets → unet, wired inside the server.

The residuals of one ControlNet at 1024² are 107 MB a guided pair; inside an ensemble they never leave the server.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import np_to_triton_dtype

from insta_depth_shared.attributes import ATTRIBUTES

from .engines import Engine, step_engine_names
from .tensors import Axis, Tensor

NAME = "denoise_step"
OUTPUT = "noise_pred"


def ensemble_inputs(table: Mapping[str, Engine]) -> dict[str, Tensor]:
    """Return the tensors that the ensemble takes, by the ensemble's names."""
    made = {f"{name}_{tensor.name}" for name in step_engine_names()[:-1] for tensor in table[name].outputs}
    inputs: dict[str, Tensor] = {}
    for name in step_engine_names():
        for tensor in table[name].inputs:
            outer = table[name].outer_names.get(tensor.name, tensor.name)
            if outer not in made:
                inputs[outer] = tensor
    return inputs


def complete_config(source: Path, table: Mapping[str, Engine], io_dtype: np.dtype) -> str:
    """Return ``source`` (the policy) with inputs, outputs and steps added, as Triton's text format."""
    config = text_format.Parse(source.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    for name, tensor in ensemble_inputs(table).items():
        config.input.add(name=name, data_type=triton_type(tensor, io_dtype), dims=triton_dims(tensor))
    (noise,) = table["unet"].outputs
    config.output.add(name=OUTPUT, data_type=triton_type(noise, io_dtype), dims=triton_dims(noise))
    for name in step_engine_names():
        _add_step(config, name, table[name])
    return text_format.MessageToString(config)


def request_config(source: Path, parameters: Mapping[str, str]) -> str:
    """Return ``source`` with an input for each attribute, and ``parameters``, which Triton tells to whoever asks.

    Every input is optional, so that the model can name a required one that is missing.
    """
    config = text_format.Parse(source.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    for attribute in ATTRIBUTES:
        data_type = model_config_pb2.DataType.Value(attribute.triton_type)
        dims = [1 if attribute.most == 1 else -1]
        config.input.add(name=attribute.name, data_type=data_type, dims=dims, optional=True)
    for name, value in parameters.items():
        config.parameters[name].string_value = value
    return text_format.MessageToString(config)


def _add_step(config: model_config_pb2.ModelConfig, name: str, engine: Engine) -> None:
    step = config.ensemble_scheduling.step.add(model_name=name, model_version=-1)
    for tensor in engine.inputs:
        step.input_map[tensor.name] = engine.outer_names.get(tensor.name, tensor.name)
    for tensor in engine.outputs:
        step.output_map[tensor.name] = OUTPUT if tensor.name == OUTPUT else f"{name}_{tensor.name}"


def triton_type(tensor: Tensor, io_dtype: np.dtype) -> int:
    """Return the value of ``data_type`` in a configuration."""
    name = np_to_triton_dtype(np.dtype(tensor.dtype or io_dtype).type)
    return model_config_pb2.DataType.Value(f"TYPE_{name}")


def triton_dims(tensor: Tensor, first: int = 1) -> list[int]:
    """Return ``dims`` from dimension ``first`` on: Triton leaves out the batch's."""
    return [-1 if isinstance(dim, Axis) else dim for dim in tensor.dims[first:]]


def engine_config(source: Path, engine: Engine, usual: Mapping[str, int], io_dtype: np.dtype) -> str:
    """Return ``source`` (the policy) with all that Triton would otherwise ask the engine's file for, and a warm-up.

    So a server starts with ``--disable-auto-complete-config``, and does not load each file twice.
    """
    config = text_format.Parse(source.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    config.name, config.backend = engine.name, "onnxruntime"
    add_tensors(config, engine, io_dtype)
    if config.max_batch_size > 1:
        config.dynamic_batching.SetInParent()
    set_warmup(config, engine, usual)
    return text_format.MessageToString(config)


def add_tensors(config: model_config_pb2.ModelConfig, engine: Engine, io_dtype: np.dtype) -> None:
    """Add the engine's inputs and outputs to ``config``, whose ``max_batch_size`` says whether Triton batches it."""
    first = 1 if config.max_batch_size else 0
    for place, tensors in ((config.input, engine.inputs), (config.output, engine.outputs)):
        for tensor in tensors:
            place.add(name=tensor.name, data_type=triton_type(tensor, io_dtype), dims=triton_dims(tensor, first))


def set_warmup(config: model_config_pb2.ModelConfig, engine: Engine, usual: Mapping[str, int]) -> None:
    """Let ``config``, which has its inputs, begin with a request of zeros, at each symbol's ``usual`` value.

    So the first picture does not pay for what a backend puts off until its first run.
    """
    del config.model_warmup[:]
    # Triton skips a warm-up of batch size 0, and adds no dimension to any where max_batch_size is 0.
    rows = min(usual.get("rows", 1), config.max_batch_size) or 1
    warmup = config.model_warmup.add(name="usual", batch_size=rows)
    data_types = {tensor.name: tensor.data_type for tensor in config.input}
    for tensor in engine.inputs:
        warmup.inputs[tensor.name].data_type = data_types[tensor.name]
        warmup.inputs[tensor.name].dims.extend(tensor.shape(usual)[1 if config.max_batch_size else 0 :])
        warmup.inputs[tensor.name].zero_data = True
