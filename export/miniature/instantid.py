"""InstantID's two files: ``ip-adapter.bin`` (projector and face attention) and IdentityNet."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from .diffusion import build_controlnet
from .plan import CheckpointPlan, ProjectorPlan
from .random_weights import seeded

_FACE_VALUE_GAIN = 3.0
# The projector's queries attend to one face and to sixteen of their own: unweighted, the face is lost in their mean.
_FACE_GAIN = 6.0


def write_instantid(folder: Path, unet: UNet2DConditionModel, plan: CheckpointPlan, seed: int) -> None:
    """Write InstantID's folder for ``unet``."""
    build_controlnet(plan, seed).save_pretrained(folder / "ControlNetModel")
    with seeded(seed + 1):
        weights = {"image_proj": random_projector(plan), "ip_adapter": random_face_attention(unet, plan)}
    torch.save(weights, folder / "ip-adapter.bin")


def random_projector(plan: CheckpointPlan) -> dict[str, torch.Tensor]:
    """Return ``image_proj``: matrices keep their input's scale, the face outweighs the queries."""
    return {name: _parameter(name, shape) for name, shape in _projector_shapes(plan).items()}


def copied_face_attention(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """Return face attention that starts as the text's, as IP-Adapter's training does."""
    weights = {}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            text = unet.get_submodule(name.removesuffix(".processor"))
            weights[f"{index}.to_k_ip.weight"] = text.to_k.weight.detach().clone()
            weights[f"{index}.to_v_ip.weight"] = text.to_v.weight.detach().clone()
    return weights


def random_face_attention(unet: UNet2DConditionModel, plan: CheckpointPlan) -> dict[str, torch.Tensor]:
    """Return key and value projections of every cross-attention, numbered as all attention is."""
    weights = {}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            inner = unet.get_submodule(name.removesuffix(".processor")).inner_dim
            shape = (inner, plan.cross_attention_size)
            weights[f"{index}.to_k_ip.weight"] = 2.0 * _matrix(shape)
            weights[f"{index}.to_v_ip.weight"] = _FACE_VALUE_GAIN * _matrix(shape)
    return weights


def _projector_shapes(plan: CheckpointPlan) -> dict[str, tuple[int, ...]]:
    """Return the published resampler's parameters, in its order."""
    part, output = plan.projector, plan.cross_attention_size
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, part.queries, part.width),
        **_linear("proj_in", plan.face_embedding_size, part.width),
        **_linear("proj_out", part.width, output),
        **_norm("norm_out", output),
    }
    for layer in range(part.depth):
        shapes |= _projector_layer(f"layers.{layer}", part)
    return shapes


def _projector_layer(name: str, part: ProjectorPlan) -> dict[str, tuple[int, ...]]:
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
