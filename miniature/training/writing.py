"""Writes the trained networks as a checkpoint folder: fp16 weights in the published layouts."""

from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from export.face_inputs import SAME_PERSON
from export.networks.face_attention import cross_attention, published_keys

from ..checkpoint import appearing_at, write_tokenizers
from ..depth import build_processor
from ..detector import export_detector
from ..diffusion import write_index
from ..recognizer import write_recognizer
from ..samples import write_demo_pictures
from .identity import Parts
from .pipeline import Trained

_SAME_PERSON_COSINE = 0.45
"""Of 120 people of `benchmarks.quality` it tells 99.6 % of the pairs apart, and takes 119 for who they are."""


def write_trained(folder: Path, trained: Trained) -> None:
    """Write the checkpoint; ``folder`` appears when it is complete. The face models stay fp32, as ONNX files are."""
    with appearing_at(folder) as draft:
        write_parts(draft, trained.parts)
        write_tokenizers(draft / "base", trained.config)
        trained.depth.half().cpu().save_pretrained(draft / "depth")
        build_processor(trained.config.depth).save_pretrained(draft / "depth")
        (draft / "antelopev2").mkdir()
        export_detector(trained.detector.cpu(), draft / "antelopev2" / "scrfd_10g_bnkps.onnx")
        write_recognizer(
            draft / "antelopev2" / "glintr100.onnx", trained.recognizer.cpu(), {SAME_PERSON: str(_SAME_PERSON_COSINE)}
        )
        write_demo_pictures(draft / "pictures")


def write_parts(folder: Path, parts: Parts) -> None:
    """Write the networks of a step, text encoders and VAE into the checkpoint ``folder``; they are fp16 afterwards."""
    _write_instantid(folder / "instantid", parts)
    _write_base(folder / "base", parts)
    parts.depth.controlnet.half().cpu().save_pretrained(folder / "controlnet-depth")


def _write_base(folder: Path, parts: Parts) -> None:
    unet = parts.unet.unet
    unet.set_attn_processor(AttnProcessor2_0())  # the face attention has its own file
    networks = {
        "unet": unet,
        "vae": parts.vae,
        "text_encoder": parts.text.first.model,
        "text_encoder_2": parts.text.second.model,
    }
    for name, network in networks.items():
        network.half().cpu().save_pretrained(folder / name)
    write_index(folder)


def _write_instantid(folder: Path, parts: Parts) -> None:
    parts.identitynet.controlnet.half().cpu().save_pretrained(folder / "ControlNetModel")
    faces = {index: layer.processor for index, layer in cross_attention(parts.unet.unet).items()}
    projections = {index: (face.to_k_ip.weight, face.to_v_ip.weight) for index, face in faces.items()}
    weights = {"image_proj": parts.projector.state_dict(), "ip_adapter": published_keys(projections)}
    halved = {
        part: {name: tensor.detach().half().cpu() for name, tensor in tensors.items()}
        for part, tensors in weights.items()
    }
    torch.save(halved, folder / "ip-adapter.bin")
