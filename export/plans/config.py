"""A plan's ``config.pbtxt``: the policy plus batch size, profiles and CUDA graphs."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ..checkpoint.files import first_line, utf8_text
from ..engines import Engine
from ..errors import ExportError
from ..shapes import USUAL_ROWS, ShapeRanges, is_of_fixed_size, tensor_shapes, usual_values
from ..triton_configs import set_warmup

_ALLOCATION = "execution_context_allocation_strategy"


def read_config(path: Path) -> ModelConfig:
    """Parse a ``config.pbtxt``; raises `ExportError`."""
    text = utf8_text(path)
    try:
        return text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        raise ExportError(f"{path} is no model configuration of Triton's: {first_line(error)}") from error


def plan_config(
    policy: ModelConfig,
    engine: Engine,
    profiles: Sequence[ShapeRanges],
    has_graphs: bool = False,
    busy_wait_events: bool = False,
) -> str:
    """Return an ONNX engine's configuration, ``policy``, as that of its plan of ``profiles``, in Triton's text format.

    CUDA graphs are captured for profiles in which only the batch varies, and with ``has_graphs`` for others' optimum.
    ``busy_wait_events``: the backend waits for the GPU in a loop, which takes a processor and answers sooner.
    """
    config = ModelConfig()
    config.CopyFrom(policy)
    config.backend = "tensorrt"
    if config.max_batch_size:
        config.max_batch_size = max(ranges["rows"][2] for ranges in profiles)
    for group in config.instance_group:
        group.ClearField("profile")
        if len(profiles) > 1:
            group.profile.extend(str(index) for index in range(len(profiles)))
    if len(profiles) > 1:
        # Each profile has a context; by default each context has room for the largest profile.
        config.parameters[_ALLOCATION].string_value = "ON_PROFILE_CHANGE"
    config.optimization.ClearField("cuda")
    if busy_wait_events:
        config.optimization.cuda.busy_wait_events = True
    for ranges in profiles:
        if config.max_batch_size and (has_graphs or is_of_fixed_size(engine, ranges)):
            _add_graphs(config, engine, ranges)
    set_warmup(config, engine, usual_values(profiles[0]))
    return text_format.MessageToString(config)


def batch_config(path: Path, max_batch_size: int) -> str:
    """Return the configuration in ``path`` with another batch size: the ensemble's must match its engines'."""
    config = read_config(path)
    config.max_batch_size = max_batch_size
    return text_format.MessageToString(config)


def _add_graphs(config: ModelConfig, engine: Engine, ranges: ShapeRanges) -> None:
    """One graph for a single row, and one for the two rows of a guided request."""
    config.optimization.cuda.graphs = True
    for rows in sorted({1, min(USUAL_ROWS, ranges["rows"][2])}):
        graph = config.optimization.cuda.graph_spec.add(batch_size=rows)
        for tensor in engine.inputs:
            _, usual, _ = tensor_shapes(tensor, ranges)
            graph.input[tensor.name].dim.extend(usual[1:])
