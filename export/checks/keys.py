"""Whether each file has exactly the weights of its network; nothing but names and shapes is read."""

from collections.abc import Collection
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from ..checkpoint import Checkpoint, load_ip_adapter
from ..checkpoint.adapter import ATTENTION, PROJECTOR
from ..checkpoint.weights import tensor_shapes
from ..engines import ENGINES
from ..errors import CheckpointError
from ..networks.face_attention import attention_shapes
from ..networks.identity_projector import PUBLISHED_HEAD_WIDTH, IdentityProjector
from ..networks.loading import check_network, compare, network_files

_SIZED_BY = ("latents", "proj_in.weight", "proj_out.weight", "layers.0.0.to_q.weight", "layers.0.1.1.weight")


def network_parts(checkpoint: Checkpoint) -> dict[str, tuple[type[nn.Module], Path]]:
    """Return each engine's class and folder, those that are published as weights of a library's network."""
    sources = {row.name: row.source for row in ENGINES if row.source.network}
    folders = {name: source.path(checkpoint) for name, source in sources.items()}
    return {name: (source.network(folders[name]), folders[name]) for name, source in sources.items() if source.network}


def check_files(checkpoint: Checkpoint, engines: Collection[str] = ()) -> None:
    """Raise `CheckpointError` for the first file of weights of ``engines`` (default: all) that cannot be opened."""
    load_ip_adapter(checkpoint)
    for name, (kind, folder) in network_parts(checkpoint).items():
        if not engines or name in engines:
            tensor_shapes(network_files(kind, folder))


def check_keys(checkpoint: Checkpoint, engines: Collection[str] = ()) -> None:
    """Raise `CheckpointError` for the first missing, unexpected or mismatched weight of ``engines`` (default: all)."""
    for name, (kind, folder) in network_parts(checkpoint).items():
        if not engines or name in engines:
            network = check_network(kind, folder)
            if isinstance(network, UNet2DConditionModel):
                _check_attention(checkpoint, network)
    if not engines or "identity_projector" in engines:
        check_projector(checkpoint)


def _check_attention(checkpoint: Checkpoint, unet: UNet2DConditionModel) -> None:
    needed = {name: torch.empty(shape, device="meta") for name, shape in attention_shapes(unet).items()}
    found = load_ip_adapter(checkpoint)[ATTENTION]
    compare([checkpoint.ip_adapter], needed, found, f"{ATTENTION}, for {checkpoint.unet},")


def check_projector(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` where ``image_proj`` is not InstantID's resampler."""
    path, found = checkpoint.ip_adapter, load_ip_adapter(checkpoint)[PROJECTOR]
    needed = IdentityProjector.empty(found).state_dict()
    compare([path], needed, found, f"{PROJECTOR}, InstantID's resampler,")


def check_projector_sizes(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` where ``image_proj`` lacks the weights that tell the resampler's sizes."""
    path, found = checkpoint.ip_adapter, load_ip_adapter(checkpoint)[PROJECTOR]
    if missing := [name for name in _SIZED_BY if name not in found]:
        others = f", and has {next(iter(found))}" if found else ""
        raise CheckpointError(
            f"{path}: {PROJECTOR} lacks {missing[0]}{others}; InstantID's is a resampler (another IP-Adapter's file?)"
        )
    for name in _SIZED_BY:
        rank = 3 if name == "latents" else 2
        if found[name].ndim != rank:
            raise CheckpointError(
                f"{path}: {PROJECTOR}'s {name} has the shape {tuple(found[name].shape)}; {rank} dimensions are needed"
            )
    inner = found["layers.0.0.to_q.weight"].shape[0]
    if inner % PUBLISHED_HEAD_WIDTH:
        raise CheckpointError(
            f"{path}: {PROJECTOR}'s layers.0.0.to_q.weight makes {inner} numbers; "
            f"a multiple of {PUBLISHED_HEAD_WIDTH} is needed, the width of a head"
        )
