"""What export completes in ``config.pbtxt``: the ensemble, a request's inputs, and a warm-up request of each engine.

The ensemble is identitynet ∥ controlnet_depth → unet, wired inside the server.

The residuals of one ControlNet at 1024² are 107 MB a guided pair; inside an ensemble they never leave the server.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import np_to_triton_dtype

from insta_depth_shared.attributes import ATTRIBUTES

from .engines import Axis, Engine, Tensor, step_engine_names

NAME = "denoise_step"
OUTPUT = "noise_pred"

# What the ensemble calls an engine's tensor, where the two names differ.
_NAMES: Mapping[str, Mapping[str, str]] = {
    "identitynet": {
        "encoder_hidden_states": "prompt_image_emb",
        "controlnet_cond": "face_keypoints",
        "conditioning_scale": "identitynet_scale",
    },
    "controlnet_depth": {"controlnet_cond": "depth", "conditioning_scale": "depth_scale"},
    "unet": {},
}


def ensemble_inputs(table: Mapping[str, Engine]) -> dict[str, Tensor]:
    """Return the tensors that the ensemble takes, by the ensemble's names."""
    made = {f"{name}_{tensor.name}" for name in step_engine_names()[:-1] for tensor in table[name].outputs}
    inputs: dict[str, Tensor] = {}
    for name in step_engine_names():
        for tensor in table[name].inputs:
            outer = _NAMES[name].get(tensor.name, tensor.name)
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
        config.input.add(name=attribute.name, data_type=data_type, dims=[1], optional=True)
    for name, value in parameters.items():
        config.parameters[name].string_value = value
    return text_format.MessageToString(config)


def _add_step(config: model_config_pb2.ModelConfig, name: str, engine: Engine) -> None:
    step = config.ensemble_scheduling.step.add(model_name=name, model_version=-1)
    for tensor in engine.inputs:
        step.input_map[tensor.name] = _NAMES[name].get(tensor.name, tensor.name)
    for tensor in engine.outputs:
        step.output_map[tensor.name] = OUTPUT if tensor.name == OUTPUT else f"{name}_{tensor.name}"


def triton_type(tensor: Tensor, io_dtype: np.dtype) -> int:
    """Return the value of ``data_type`` in a configuration."""
    name = np_to_triton_dtype(np.dtype(tensor.dtype or io_dtype).type)
    return model_config_pb2.DataType.Value(f"TYPE_{name}")


def triton_dims(tensor: Tensor) -> list[int]:
    """Return ``dims``, without the batch's."""
    return [-1 if isinstance(dim, Axis) else dim for dim in tensor.dims[1:]]


def warmed_config(source: Path, engine: Engine, usual: Mapping[str, int], io_dtype: np.dtype) -> str:
    """Return ``source`` (the policy) with one warm-up request of zeros, at each symbol's ``usual`` value.

    So the first picture does not pay for what a backend puts off until its first run.
    """
    config = text_format.Parse(source.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    first = 1 if config.max_batch_size else 0
    # Where Triton does not batch, 0 keeps it from putting a dimension in front.
    warmup = config.model_warmup.add(name="usual", batch_size=usual["rows"] if first else 0)
    for tensor in engine.inputs:
        warmup.inputs[tensor.name].data_type = triton_type(tensor, io_dtype)
        warmup.inputs[tensor.name].dims.extend(tensor.shape(usual)[first:])
        warmup.inputs[tensor.name].zero_data = True
    return text_format.MessageToString(config)
