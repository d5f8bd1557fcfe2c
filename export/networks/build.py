"""From a checkpoint to the module of each engine, weights loaded, ready for export."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, ModelMixin, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from ..checkpoint import Checkpoint, load_ip_adapter
from ..facts import Facts
from ..precision import Precision, Precisions
from .controlnet import ControlNetDepth, ControlNetDepthSmall, IdentityNet
from .depth_estimator import DepthEstimator, depth_model
from .face_attention import add_face_attention
from .identity_projector import IdentityProjector
from .loading import load_diffusers, load_transformers
from .lora import fuse_loras
from .text_encoder import TextEncoder, TextEncoder2
from .unet import UNet
from .vae_decoder import VaeDecoder

Builder = Callable[[Checkpoint, Facts, torch.dtype], nn.Module]
FP32_UNLESS_NAMED = frozenset({"identity_projector", "text_encoder", "text_encoder_2", "depth_estimator"})
"""Engines that run once a request, and whose rounding every step repeats; docs/architecture.md has the figures."""


def build_network(name: str, checkpoint: Checkpoint, facts: Facts, precision: Precision) -> nn.Module:
    """Return engine ``name`` as a module in ``precision``, on the CPU, in eval mode."""
    module = _BUILDERS[name](checkpoint, facts, precision.torch_dtype)
    return module.eval().requires_grad_(False)


def network_precision(name: str, checkpoint: Checkpoint, precisions: Precisions) -> Precision:
    """The precision that ``name`` is exported in.

    In an fp16 repository SDXL's stock VAE, which overflows in fp16, stays fp32, and so do the engines of
    `FP32_UNLESS_NAMED` that ``precisions`` does not name.
    """
    precision = precisions.of(name)
    if precision is not Precision.FP16:
        return precision
    overflows = name == "vae_decoder" and checkpoint.config(checkpoint.base / "vae").get("force_upcast", True)
    is_kept = name in FP32_UNLESS_NAMED and name not in precisions.others
    return Precision.FP32 if overflows or is_kept else precision


def _denoiser(kind: type[ModelMixin], folder: Path, dtype: torch.dtype) -> ModelMixin:
    """A UNet or ControlNet, which joins the sizes' embedding (fp32) to the text's: ONNX joins equal types only."""
    network = load_diffusers(kind, folder, dtype)
    join_in_one_type(network)
    return network


def join_in_one_type(network: ModelMixin) -> None:
    """Let the sizes' embedding, which comes in fp32, be of the network's type."""
    network.add_time_proj.register_forward_hook(lambda _module, _inputs, embedding: embedding.to(network.dtype))


def _text_encoder(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    encoder = load_transformers(CLIPTextModel, checkpoint.base / "text_encoder", dtype)
    fuse_loras(encoder, "text_encoder", checkpoint)
    return TextEncoder(encoder)


def _text_encoder_2(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    encoder = load_transformers(CLIPTextModelWithProjection, checkpoint.base / "text_encoder_2", dtype)
    fuse_loras(encoder, "text_encoder_2", checkpoint)
    return TextEncoder2(encoder)


def _identity_projector(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    return IdentityProjector(load_ip_adapter(checkpoint)["image_proj"]).to(dtype)


def _depth_estimator(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    return DepthEstimator(load_transformers(depth_model(checkpoint.depth), checkpoint.depth, dtype))


def _identitynet(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    controlnet = _denoiser(ControlNetModel, checkpoint.identitynet, dtype)
    residuals = (*facts.residuals, facts.middle)
    return IdentityNet(controlnet, [facts.vae_factor * 2**residual.level for residual in residuals])


def _controlnet_depth(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    controlnet = _denoiser(ControlNetModel, checkpoint.controlnet_depth, dtype)
    return ControlNetDepth(controlnet) if facts.depth_net_reads_text else ControlNetDepthSmall(controlnet)


def _unet(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    unet = _denoiser(UNet2DConditionModel, checkpoint.base / "unet", dtype)
    fuse_loras(unet, "unet", checkpoint)  # before the face attention, which takes over the layers LoRAs are made for
    weights = load_ip_adapter(checkpoint)["ip_adapter"]
    add_face_attention(unet, {name: weight.to(dtype) for name, weight in weights.items()})
    return UNet(unet, facts.vae_factor, len(facts.residuals) + 1)


def _vae_decoder(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    return VaeDecoder(load_diffusers(AutoencoderKL, checkpoint.base / "vae", dtype))


_BUILDERS: Mapping[str, Builder] = {
    "text_encoder": _text_encoder,
    "text_encoder_2": _text_encoder_2,
    "identity_projector": _identity_projector,
    "depth_estimator": _depth_estimator,
    "identitynet": _identitynet,
    "controlnet_depth": _controlnet_depth,
    "unet": _unet,
    "vae_decoder": _vae_decoder,
}
