"""What ``config.pbtxt`` says of a plan beyond its policy: batch, profiles, CUDA graphs."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ..engines import Engine
from ..shapes import USUAL_ROWS, ShapeRanges, is_of_fixed_size, tensor_shapes


def read_config(path: Path) -> ModelConfig:
    """Parse a ``config.pbtxt``."""
    return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())


def plan_config(policy: ModelConfig, engine: Engine, profiles: Sequence[ShapeRanges]) -> str:
    """Return ``policy`` completed for a plan of ``profiles``, as Triton's text format.

    CUDA graphs are captured for the profiles in which nothing but the batch varies.
    """
    config = ModelConfig()
    config.CopyFrom(policy)
    if config.max_batch_size:
        config.max_batch_size = max(ranges["rows"][2] for ranges in profiles)
    for group in config.instance_group:
        group.ClearField("profile")
        if len(profiles) > 1:
            group.profile.extend(str(index) for index in range(len(profiles)))
    config.optimization.ClearField("cuda")
    for ranges in profiles:
        if config.max_batch_size and is_of_fixed_size(engine, ranges):
            _add_graphs(config, engine, ranges)
    return text_format.MessageToString(config)


def batch_config(path: Path, max_batch_size: int) -> str:
    """Return the configuration in ``path`` with another batch: the ensemble's follows its engines'."""
    config = read_config(path)
    config.max_batch_size = max_batch_size
    return text_format.MessageToString(config)


def _add_graphs(config: ModelConfig, engine: Engine, ranges: ShapeRanges) -> None:
    """One graph for a row alone, and one for the two rows of a guided request."""
    config.optimization.cuda.graphs = True
    for rows in sorted({1, min(USUAL_ROWS, ranges["rows"][2])}):
        graph = config.optimization.cuda.graph_spec.add(batch_size=rows)
        for tensor in engine.inputs:
            _, usual, _ = tensor_shapes(tensor, ranges)
            graph.input[tensor.name].dim.extend(usual[1:])
