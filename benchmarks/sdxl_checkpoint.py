"""A checkpoint of SDXL's published sizes with random fp16 weights, for measuring what export costs.

Only the UNet, IdentityNet and the face adapter have weights; the other parts have just their configs.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file

from miniature.architecture import CheckpointConfig, ProjectorConfig, TextEncoderConfig
from miniature.instantid import random_projector

# stabilityai/stable-diffusion-xl-base-1.0 and InstantX/InstantID, their config.json
_SHARED: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "layers_per_block": 2,
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
UNET = {
    **_SHARED,
    "sample_size": 128,
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}
CONTROLNET = {**_SHARED, "conditioning_embedding_out_channels": [16, 32, 96, 256]}
# diffusers/controlnet-depth-sdxl-1.0-small: inferred, 160 M parameters are those of its 320 MB in fp16
CONTROLNET_SMALL = {**CONTROLNET, "down_block_types": ["DownBlock2D"] * 3, "transformer_layers_per_block": [0, 0, 0]}
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
# depth-anything/Depth-Anything-V2-Small-hf
DEPTH_ANYTHING_SMALL: dict[str, Any] = {
    "backbone_config": {
        "model_type": "dinov2",
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "image_size": 518,
        "patch_size": 14,
        "out_indices": [3, 6, 9, 12],
        "reshape_hidden_states": False,
    },
    "reassemble_hidden_size": 384,
    "neck_hidden_sizes": [48, 96, 192, 384],
    "fusion_hidden_size": 64,
    "head_hidden_size": 32,
}
_OTHER_CONFIGS = {
    "base/vae": VAE,
    "base/text_encoder": {"hidden_size": 768, "projection_dim": 768, "max_position_embeddings": 77},
    "base/text_encoder_2": {"hidden_size": 1280, "projection_dim": 1280, "max_position_embeddings": 77},
}


def write_sdxl_checkpoint(folder: Path, donor: Path) -> None:
    """Write the checkpoint to ``folder``; the small parts are those of the checkpoint ``donor``."""
    with torch.device("meta"):
        unet, controlnet = UNet2DConditionModel(**UNET), ControlNetModel(**CONTROLNET)
    _write_network(unet, folder / "base" / "unet")
    for part in ("instantid/ControlNetModel", "controlnet-depth"):
        _write_network(controlnet, folder / part)
    for part, config in _OTHER_CONFIGS.items():
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for part in ("base/tokenizer", "base/tokenizer_2", "base/scheduler", "depth", "antelopev2"):
        shutil.copytree(donor / part, folder / part)
    adapter = {"image_proj": _projector(), "ip_adapter": dict(_face_attention(unet))}
    torch.save(adapter, folder / "instantid" / "ip-adapter.bin")


def _write_network(network: UNet2DConditionModel | ControlNetModel, folder: Path) -> None:
    folder.mkdir(parents=True)
    network.save_config(folder)
    weights = {name: _random(parameter.shape) for name, parameter in network.named_parameters()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def _random(shape: torch.Size) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float32).mul_(0.02).half()


def _projector() -> dict[str, torch.Tensor]:
    config = CheckpointConfig(
        text_encoder=TextEncoderConfig(768, 12, 12, "quick_gelu", 768),
        text_encoder_2=TextEncoderConfig(1280, 32, 20, "gelu", 1280),
        projector=ProjectorConfig(width=1280, depth=4, heads=20),
    )
    return random_projector(config)


def _face_attention(unet: UNet2DConditionModel) -> Iterator[tuple[str, torch.Tensor]]:
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            for kind in ("to_k_ip", "to_v_ip"):
                yield f"{index}.{kind}.weight", _random(torch.Size((width, _SHARED["cross_attention_dim"])))
