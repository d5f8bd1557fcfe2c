"""From a checkpoint to the module of each engine, its weights loaded in ``dtype``, ready for export."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, ModelMixin, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from ..checkpoint import Checkpoint, load_ip_adapter
from ..controlnets import ControlNet
from ..facts import Facts
from .controlnet import controlnet_module
from .depth_estimator import DepthEstimator, depth_model
from .face_attention import add_face_attention
from .guidance import fuse_guidance
from .identity_projector import IdentityProjector
from .loading import load_diffusers, load_transformers
from .lora import fuse_loras
from .text_encoder import TextEncoder, TextEncoder2
from .unet import UNet
from .vae_decoder import VaeDecoder
from .vae_encoder import VaeEncoder


def _denoiser(kind: type[ModelMixin], folder: Path, dtype: torch.dtype) -> ModelMixin:
    """A UNet or ControlNet, which joins the sizes' embedding (fp32) to the text's: ONNX joins equal types only."""
    network = load_diffusers(kind, folder, dtype)
    join_in_one_type(network)
    return network


def join_in_one_type(network: ModelMixin) -> None:
    """Let the sizes' embedding, which comes in fp32, be of the network's type."""
    network.add_time_proj.register_forward_hook(lambda _module, _inputs, embedding: embedding.to(network.dtype))


def text_encoder(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """CLIP with its LoRAs."""
    encoder = load_transformers(CLIPTextModel, checkpoint.base / "text_encoder", dtype)
    fuse_loras(encoder, "text_encoder", checkpoint)
    return TextEncoder(encoder)


def text_encoder_2(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """OpenCLIP with its LoRAs."""
    encoder = load_transformers(CLIPTextModelWithProjection, checkpoint.base / "text_encoder_2", dtype)
    fuse_loras(encoder, "text_encoder_2", checkpoint)
    return TextEncoder2(encoder)


def identity_projector(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """InstantID's resampler."""
    return IdentityProjector(load_ip_adapter(checkpoint)["image_proj"]).to(dtype)


def depth_estimator(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """Any of the supported families."""
    return DepthEstimator(load_transformers(depth_model(checkpoint.depth), checkpoint.depth, dtype))


def controlnet(row: ControlNet, checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """The ControlNet of ``row``."""
    return controlnet_module(row, _denoiser(ControlNetModel, checkpoint.controlnets[row.engine], dtype), facts)


def unet(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """SDXL's UNet with its LoRAs, the guidance it may be distilled with, and InstantID's face attention."""
    network = _denoiser(UNet2DConditionModel, checkpoint.unet, dtype)
    fuse_loras(network, "unet", checkpoint)  # before the face attention: it takes over the layers LoRAs are made for
    fuse_guidance(network)
    weights = load_ip_adapter(checkpoint)["ip_adapter"]
    add_face_attention(network, {name: weight.to(dtype) for name, weight in weights.items()})
    return UNet(network, facts.vae_factor, len(facts.residuals) + 1)


def vae_decoder(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """The VAE's decoder."""
    return VaeDecoder(load_diffusers(AutoencoderKL, checkpoint.base / "vae", dtype))


def vae_encoder(checkpoint: Checkpoint, facts: Facts, dtype: torch.dtype) -> nn.Module:
    """The VAE's encoder."""
    return VaeEncoder(load_diffusers(AutoencoderKL, checkpoint.base / "vae", dtype))
