"""Warm-up requests: the first picture does not pay for what a backend puts off until its first run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from .engines import Engine
from .ensemble import triton_type


def warmed_config(source: Path, engine: Engine, usual: Mapping[str, int], io_dtype: np.dtype) -> str:
    """Return ``source`` (the policy) with one warm-up request of zeros, at each symbol's ``usual`` value."""
    config = text_format.Parse(source.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    first = 1 if config.max_batch_size else 0
    # Where Triton does not batch, 0 keeps it from putting a dimension in front.
    warmup = config.model_warmup.add(name="usual", batch_size=usual["rows"] if first else 0)
    for tensor in engine.inputs:
        warmup.inputs[tensor.name].data_type = triton_type(tensor, io_dtype)
        warmup.inputs[tensor.name].dims.extend(tensor.shape(usual)[first:])
        warmup.inputs[tensor.name].zero_data = True
    return text_format.MessageToString(config)
