"""Loads a written checkpoint for further training."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from export.checkpoint import Checkpoint, load_ip_adapter
from export.in_process import import_models_of
from export.networks.depth_estimator import depth_model
from export.networks.face_attention import add_face_attention
from export.networks.identity_projector import IdentityProjector
from export.networks.loading import load_diffusers, load_transformers

from .architecture import CheckpointConfig
from .training.examples import Annotators
from .training.identity import Parts
from .training.text_to_image import TextEncoders

_MODELS = Path(__file__).parents[1] / "model_repository"


def load_unet(checkpoint: Checkpoint) -> UNet2DConditionModel:
    """Return the base's UNet, fp32."""
    return load_diffusers(UNet2DConditionModel, checkpoint.unet, torch.float32)


def load_parts(checkpoint: Checkpoint, unet: UNet2DConditionModel, device: torch.device) -> Parts:
    """Return the networks of a step, fp32 and frozen; ``unet``, the base's, gets the face attention here."""
    import_models_of(_MODELS)
    adapter = load_ip_adapter(checkpoint)
    add_face_attention(unet, {name: weight.float() for name, weight in adapter["ip_adapter"].items()})
    base = checkpoint.base
    text = TextEncoders(
        load_transformers(CLIPTextModel, base / "text_encoder", torch.float32),
        load_transformers(CLIPTextModelWithProjection, base / "text_encoder_2", torch.float32),
    )
    controlnets = {
        name: load_diffusers(ControlNetModel, folder, torch.float32) for name, folder in checkpoint.controlnets.items()
    }
    parts = Parts.around(
        unet,
        text,
        load_diffusers(AutoencoderKL, base / "vae", torch.float32),
        IdentityProjector({name: weight.float() for name, weight in adapter["image_proj"].items()}),
        controlnets["identitynet"],
        controlnets["controlnet_depth"],
    )
    for network in (parts.unet, parts.text, parts.vae, parts.projector, parts.identitynet, parts.depth):
        network.to(device).eval().requires_grad_(False)
    return parts


def load_annotators(checkpoint: Checkpoint, config: CheckpointConfig, parts: Parts, device: torch.device) -> Annotators:
    """Return what annotates pictures: the checkpoint's own networks, which ``config`` describes, frozen."""
    depth = load_transformers(depth_model(checkpoint.depth), checkpoint.depth, torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint.base / "tokenizer")
    depth.to(device).eval().requires_grad_(False)
    recognizer = ArcFaceONNX(str(checkpoint.face_recognizer))
    return Annotators(parts.vae, tokenizer, depth, config.depth, partial(_embed, recognizer))


def _embed(recognizer: ArcFaceONNX, faces: np.ndarray) -> np.ndarray:
    return recognizer.get_feat([face[..., ::-1] for face in faces])
