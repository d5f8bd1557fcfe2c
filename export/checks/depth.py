"""Whether the depth part is of a supported family, and its processor makes pictures for it."""

from ..checkpoint import Checkpoint
from ..depth import depth_input, is_distance
from ..errors import CheckpointError
from ..networks.depth_estimator import depth_model
from ..networks.loading import transformers_config


def check_depth(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` for a foreign family, an impossible config or a processor that fails."""
    folder, config = checkpoint.depth, checkpoint.config(checkpoint.depth)
    network = depth_model(folder)
    is_distance(folder, config)
    if config.get("quantization_config") is not None:
        raise CheckpointError(f"{folder / 'config.json'}: quantization_config is not supported; it should be null")
    transformers_config(network, folder)
    depth_input(folder, config)
