"""InstantID's two files: ``ip-adapter.bin`` (projector and face attention) and IdentityNet."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from export.networks.face_attention import cross_attention, published_keys

from .architecture import CheckpointConfig, ProjectorConfig
from .diffusion import build_controlnet
from .random_weights import seeded

_FACE_VALUE_GAIN = 3.0
# The projector's queries attend to one face token and sixteen of their own: unweighted, the face is lost in the mean.
_FACE_GAIN = 6.0


def write_instantid(folder: Path, unet: UNet2DConditionModel, config: CheckpointConfig, seed: int) -> None:
    """Write InstantID's folder for ``unet``."""
    build_controlnet(config, seed).save_pretrained(folder / "ControlNetModel")
    with seeded(seed + 1):
        weights = {"image_proj": random_projector(config), "ip_adapter": random_face_attention(unet, config)}
    torch.save(weights, folder / "ip-adapter.bin")


def random_projector(config: CheckpointConfig) -> dict[str, torch.Tensor]:
    """Return ``image_proj``: matrices preserve scale, the face outweighs the queries."""
    return {name: _parameter(name, shape) for name, shape in _projector_shapes(config).items()}


def copied_face_attention(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """Return face attention that starts as the text's, as IP-Adapter's training does."""
    layers = cross_attention(unet).items()
    return published_keys({index: (_copy(layer.to_k), _copy(layer.to_v)) for index, layer in layers})


def random_face_attention(unet: UNet2DConditionModel, config: CheckpointConfig) -> dict[str, torch.Tensor]:
    """Return key and value projections of every cross-attention layer."""
    shapes = {index: (layer.inner_dim, config.cross_attention_size) for index, layer in cross_attention(unet).items()}
    return published_keys(
        {index: (2.0 * _matrix(shape), _FACE_VALUE_GAIN * _matrix(shape)) for index, shape in shapes.items()}
    )


def _projector_shapes(config: CheckpointConfig) -> dict[str, tuple[int, ...]]:
    """Return the published resampler's parameters, in its order."""
    part, output = config.projector, config.cross_attention_size
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, part.queries, part.width),
        **_linear("proj_in", config.face_embedding_size, part.width),
        **_linear("proj_out", part.width, output),
        **_norm("norm_out", output),
    }
    for layer in range(part.depth):
        shapes |= _projector_layer(f"layers.{layer}", part)
    return shapes


def _projector_layer(name: str, part: ProjectorConfig) -> dict[str, tuple[int, ...]]:
    """Return one layer: attention from the queries to the face and to themselves, then feed-forward."""
    width, inner, hidden = part.width, part.heads * part.head_size, part.width * part.feed_forward_factor
    return {
        **_norm(f"{name}.0.norm1", width),
        **_norm(f"{name}.0.norm2", width),
        f"{name}.0.to_q.weight": (inner, width),
        f"{name}.0.to_kv.weight": (2 * inner, width),
        f"{name}.0.to_out.weight": (width, inner),
        **_norm(f"{name}.1.0", width),
        f"{name}.1.1.weight": (hidden, width),
        f"{name}.1.3.weight": (width, hidden),
    }


def _copy(layer: torch.nn.Linear) -> torch.Tensor:
    return layer.weight.detach().clone()


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _parameter(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    if len(shape) == 1:
        noise = 0.1 * torch.randn(shape)
        gain = _FACE_GAIN if name.endswith("0.norm1.weight") else 1.0
        return gain * (1 + noise) if name.endswith("weight") else noise
    return _matrix(shape)


def _matrix(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape) / shape[-1] ** 0.5
