"""The diffusers side of the checkpoint: SDXL's base folder and the two ControlNets."""

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from .architecture import CheckpointConfig, TextEncoderConfig
from .random_weights import seeded, spread, spread_named

_TIME_IDS = 6
# Untrained attention hardly changes the residual stream, so pictures would not show its effect.
_ATTENTION_GAINS = {"attn2.to_q": 2.0, "attn2.to_k": 2.0, "attn2.to_v": 2.0, "attn2.to_out.0": 10.0}
# Strong latents on the shortest path, so that the noise can be read off at the end.
_SHORTCUT_GAINS = {"conv_in": 2.5, "up_blocks.2.resnets.2.conv_shortcut": 2.0}
_POOLED_GAINS = {"add_embedding.linear_1": 2.0, "add_embedding.linear_2": 2.0}
_CONDITION_GAIN = 2.0
_CONTROL_GAIN = 1.0
_TEXTURE_GAIN = 1.0
_WORD_SPREAD = 0.5
_CONTRAST = 0.6


def build_unet(config: CheckpointConfig, seed: int, to_be_trained: bool = False) -> UNet2DConditionModel:
    """Return SDXL's UNet at the config's widths; its output has about unit deviation, as noise does.

    ``to_be_trained``: keep diffusers' initialisation.
    """
    with seeded(seed):
        unet = UNet2DConditionModel(
            sample_size=config.latent_size,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            **_shared_config(config),
        )
        if not to_be_trained:
            spread_named(unet, _ATTENTION_GAINS | _POOLED_GAINS | _SHORTCUT_GAINS)
            _point_at_noise(unet)
    return unet


def build_controlnet(config: CheckpointConfig, seed: int, cross_attention: bool = True) -> ControlNetModel:
    """Return a ControlNet with the UNet's shape, or the published ``-small`` one without cross-attention."""
    blocks = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    with seeded(seed):
        net = ControlNetModel(
            down_block_types=blocks if cross_attention else ("DownBlock2D",) * 3,
            mid_block_type="UNetMidBlock2DCrossAttn" if cross_attention else "UNetMidBlock2D",
            conditioning_embedding_out_channels=config.unet.condition_channels,
            **_shared_config(config),
        )
        spread_named(net, _ATTENTION_GAINS | _POOLED_GAINS)
        _open_zero_convolutions(net)
    return net


def write_base(folder: Path, config: CheckpointConfig, seed: int) -> UNet2DConditionModel:
    """Write the base folder without its tokenizers; return the UNet, on whose attention the face adapter depends."""
    unet = build_unet(config, seed)
    unet.save_pretrained(folder / "unet")
    build_vae(config, seed + 1).save_pretrained(folder / "vae")
    build_text_encoder(CLIPTextModel, config.text_encoder, config, seed + 2).save_pretrained(folder / "text_encoder")
    second = build_text_encoder(CLIPTextModelWithProjection, config.text_encoder_2, config, seed + 3)
    second.save_pretrained(folder / "text_encoder_2")
    write_index(folder)
    return unet


def write_index(folder: Path) -> None:
    """Write the base folder's scheduler and ``model_index.json``."""
    sdxl_scheduler().save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(_model_index(), indent=2) + "\n", encoding="utf-8")


def _shared_config(config: CheckpointConfig) -> dict[str, Any]:
    """Return what SDXL's UNet and its ControlNets have in common."""
    pooled, times = config.text_encoder_2.projection_size, _TIME_IDS * config.unet.time_id_size
    return {
        "block_out_channels": config.unet.channels,
        "layers_per_block": config.unet.layers_per_block,
        "norm_num_groups": config.unet.norm_groups,
        "attention_head_dim": config.unet.heads,  # SDXL's configs store the number of heads under this name
        "transformer_layers_per_block": config.unet.transformer_layers,
        "cross_attention_dim": config.cross_attention_size,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": config.unet.time_id_size,
        "projection_class_embeddings_input_dim": pooled + times,
    }


@torch.no_grad()
def _point_at_noise(unet: UNet2DConditionModel, pictures: int = 16) -> None:
    """Fit the output layer to the noise by least squares, and add some texture.

    With plain random weights the steps would amplify the latents instead of bringing them to unit scale.
    """
    config, output = unet.config, unet.conv_out
    noise = torch.randn(pictures, config.in_channels, config.sample_size, config.sample_size)
    patches = F.unfold(_output_features(unet, noise), output.kernel_size, padding=output.padding)
    by_cell = patches.movedim(1, -1).flatten(0, 1)
    readout = torch.linalg.lstsq(by_cell, noise.movedim(1, -1).flatten(0, 2)).solution
    spread(output, _TEXTURE_GAIN)
    output.weight += readout.T.view_as(output.weight)


def _output_features(unet: UNet2DConditionModel, sample: torch.Tensor) -> torch.Tensor:
    """Return the output layer's input for noisy latents ``sample`` (B, 4, h, w) under random conditions."""
    config, rows, seen = unet.config, len(sample), []
    hook = unet.conv_out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pooled = config.projection_class_embeddings_input_dim - _TIME_IDS * config.addition_time_embed_dim
    unet(
        sample,
        timestep=500,
        encoder_hidden_states=torch.randn(rows, 77, config.cross_attention_dim),
        added_cond_kwargs={
            "text_embeds": torch.randn(rows, pooled),
            "time_ids": torch.full((rows, _TIME_IDS), 8.0 * config.sample_size),
        },
    )
    hook.remove()
    return seen[0]


def _open_zero_convolutions(net: ControlNetModel) -> None:
    """Give a ControlNet's zero convolutions random weights: untrained, they would have no effect."""
    open_stem(net, _CONDITION_GAIN)
    for convolution in [*net.controlnet_down_blocks, net.controlnet_mid_block]:
        spread(convolution, _CONTROL_GAIN)


def open_stem(net: ControlNetModel, last_gain: float = 1.0) -> None:
    """Give a ControlNet's stem weight; one that starts closed, as diffusers has it, takes thousands of training steps
    to open for maps as faint as depth.
    """
    stem = net.controlnet_cond_embedding
    for layer in stem.modules():
        if isinstance(layer, torch.nn.Conv2d):
            spread(layer, last_gain if layer is stem.conv_out else _CONDITION_GAIN)


def build_vae(config: CheckpointConfig, seed: int) -> AutoencoderKL:
    """Return SDXL's VAE at the config's widths."""
    with seeded(seed):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=config.vae.channels,
            layers_per_block=config.vae.layers_per_block,
            norm_num_groups=config.vae.norm_groups,
            latent_channels=4,
            sample_size=8 * config.latent_size,
            scaling_factor=0.13025,
            force_upcast=True,
        )
        spread(vae.decoder.conv_out, _CONTRAST)
    return vae


def build_text_encoder(kind: type, part: TextEncoderConfig, config: CheckpointConfig, seed: int) -> Any:
    """Return an encoder of class ``kind`` whose word embeddings are spread apart."""
    clip_config = CLIPTextConfig(
        vocab_size=config.vocabulary_size,
        hidden_size=part.hidden_size,
        intermediate_size=4 * part.hidden_size,
        num_hidden_layers=part.layers,
        num_attention_heads=part.heads,
        hidden_act=part.activation,
        projection_dim=part.projection_size,
        # The published encoders carry these stale ids; transformers then pools at the highest token id.
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    with seeded(seed):
        encoder = kind(clip_config)
        torch.nn.init.normal_(encoder.get_input_embeddings().weight, std=_WORD_SPREAD)
    return encoder


def sdxl_scheduler() -> EulerDiscreteScheduler:
    """Return the scheduler with SDXL's published settings."""
    return EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        interpolation_type="linear",
        prediction_type="epsilon",
        steps_offset=1,
        timestep_spacing="leading",
    )


def _model_index() -> dict[str, Any]:
    parts = {
        "scheduler": ("diffusers", EulerDiscreteScheduler),
        "text_encoder": ("transformers", CLIPTextModel),
        "text_encoder_2": ("transformers", CLIPTextModelWithProjection),
        "tokenizer": ("transformers", CLIPTokenizer),
        "tokenizer_2": ("transformers", CLIPTokenizer),
        "unet": ("diffusers", UNet2DConditionModel),
        "vae": ("diffusers", AutoencoderKL),
    }
    return {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": diffusers.__version__,
        "force_zeros_for_empty_prompt": True,
        **{name: [library, kind.__name__] for name, (library, kind) in parts.items()},
    }
