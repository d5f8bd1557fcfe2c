"""Whether a checkpoint is what export can make engines of, asked before the first engine is made.

From cheap to dear: the files can be read, each config describes a supported network, the tokenizers belong to their
encoders, the face models have the published interface, the parts fit together, and each file has exactly its network's
weights. Since `networks.loading` then loads no other way than was checked, and the exporter's parity check compares
each engine with the module so loaded, "ok" means that the file's weights are in the engine.
"""

from collections.abc import Collection

from ..checkpoint import Checkpoint
from .configs import check_depth, read_configs
from .faces import check_faces
from .fit import check_fit
from .keys import check_files, check_keys
from .tokenizers import check_tokenizers
from .values import check_values

__all__ = ["check_checkpoint", "check_values"]


def check_checkpoint(checkpoint: Checkpoint, engines: Collection[str] = ()) -> None:
    """Raise `CheckpointError` for the first fault; weights are compared for ``engines`` only (default: all).

    No weights are read, so this takes seconds and little memory for SDXL too.
    """
    configs = read_configs(checkpoint)
    check_files(checkpoint, engines)
    check_depth(checkpoint)
    check_tokenizers(checkpoint, configs)
    faces = check_faces(checkpoint)
    check_fit(checkpoint, configs, faces)
    check_keys(checkpoint, engines)
