"""Which ``config.json`` export takes: the fields that the published networks set, and the values that it supports.

A field that is not listed here must have its class's default: some change a network's inputs (an LCM's guidance
embedding), some what its attention does. So a field that nobody thought of is refused instead of being ignored.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from transformers.activations import ACT2FN

from ..checkpoint import Checkpoint
from ..checkpoint.files import read_object
from ..depth import depth_input, is_distance, picture_sizes
from ..errors import CheckpointError
from ..networks.depth_estimator import check_picture_sizes, depth_model
from ..networks.loading import transformers_config

Size = Annotated[int, Field(gt=0, le=2**20)]
Count = Annotated[int, Field(gt=0, le=64)]
Layers = Annotated[int, Field(ge=0, le=64)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_SHOWN = 60


class Config(BaseModel):
    """Fields as JSON has them: ``1`` is no ``true``, ``"8"`` no number."""

    model_config = ConfigDict(strict=True, extra="allow")


class Denoiser(Config):
    """What a UNet and a ControlNet of SDXL share."""

    in_channels: Size
    block_out_channels: Annotated[list[Size], Field(min_length=1, max_length=8)]
    down_block_types: list[Literal["DownBlock2D", "CrossAttnDownBlock2D"]]
    mid_block_type: Literal["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"] = "UNetMidBlock2DCrossAttn"
    layers_per_block: Count | list[Count] = 2
    transformer_layers_per_block: Layers | list[Layers] = 1
    attention_head_dim: Size | list[Size] = 8
    cross_attention_dim: Size
    norm_num_groups: Size = 32
    norm_eps: Positive = 1e-5
    act_fn: str = "silu"
    use_linear_projection: bool = False
    upcast_attention: bool | None = False
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    downsample_padding: Annotated[int, Field(ge=0, le=1)] = 1
    mid_block_scale_factor: Positive = 1
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    addition_embed_type: Literal["text_time"]
    addition_embed_type_num_heads: Size | None = 64
    addition_time_embed_dim: Size
    projection_class_embeddings_input_dim: Size

    @model_validator(mode="after")
    def _one_entry_a_block(self) -> "Denoiser":
        blocks = len(self.block_out_channels)
        for name in ("down_block_types", "layers_per_block", "transformer_layers_per_block", "attention_head_dim"):
            value = getattr(self, name)
            if isinstance(value, list) and len(value) != blocks:
                raise ValueError(f"{name} has {len(value)} entries; block_out_channels has {blocks}")
        return self


class UNetConfig(Denoiser):
    """``base/unet``."""

    class_name: Literal["UNet2DConditionModel"] | None = Field(None, alias="_class_name")
    sample_size: Size | None = None
    out_channels: Size = 4
    up_block_types: list[Literal["UpBlock2D", "CrossAttnUpBlock2D"]]
    center_input_sample: bool = False
    time_cond_proj_dim: Size | None = None
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.0


class ControlNetConfig(Denoiser):
    """IdentityNet and every other ControlNet."""

    class_name: Literal["ControlNetModel"] | None = Field(None, alias="_class_name")
    conditioning_channels: Literal[3] = 3
    conditioning_embedding_out_channels: Annotated[list[Size], Field(min_length=1, max_length=8)] = [16, 32, 96, 256]
    controlnet_conditioning_channel_order: Literal["rgb", "bgr"] = "rgb"


class VaeConfig(Config):
    """``base/vae``. The scaling factor has no default: diffusers' own is that of another VAE than SDXL's."""

    class_name: Literal["AutoencoderKL"] | None = Field(None, alias="_class_name")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    block_out_channels: Annotated[list[Size], Field(min_length=1, max_length=8)]
    down_block_types: list[Literal["DownEncoderBlock2D"]] | None = None
    up_block_types: list[Literal["UpDecoderBlock2D"]] | None = None
    layers_per_block: Count = 1
    act_fn: str = "silu"
    latent_channels: Size = 4
    norm_num_groups: Size = 32
    sample_size: Size | list[Size] | None = 32
    scaling_factor: Positive
    latents_mean: list[Number] | None = None
    latents_std: list[Positive] | None = None
    force_upcast: bool | None = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    @model_validator(mode="after")
    def _one_entry_a_channel(self) -> "VaeConfig":
        for name in ("latents_mean", "latents_std"):
            value = getattr(self, name)
            if value is not None and len(value) != self.latent_channels:
                raise ValueError(f"{name} has {len(value)} entries; latent_channels is {self.latent_channels}")
        return self


class TextConfig(Config):
    """A CLIP text encoder; the defaults are transformers'."""

    model_type: Literal["clip_text_model"] | None = None
    hidden_size: Size
    intermediate_size: Size = 2048
    projection_dim: Size
    num_hidden_layers: Annotated[int, Field(ge=2, le=64)] = 12
    num_attention_heads: Size = 8
    max_position_embeddings: Annotated[int, Field(ge=3, le=2**20)] = 77
    vocab_size: Size = 49408
    hidden_act: str = "quick_gelu"
    layer_norm_eps: Positive = 1e-5
    eos_token_id: Annotated[int, Field(ge=0)] | None = 49407
    quantization_config: None = None

    @model_validator(mode="after")
    def _possible(self) -> "TextConfig":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"hidden_act is {self.hidden_act!r}, which transformers does not know")
        return self


class TextEncoderConfig(TextConfig):
    """``base/text_encoder``."""

    architectures: list[Literal["CLIPTextModel"]] | None = None


class TextEncoder2Config(TextConfig):
    """``base/text_encoder_2``."""

    architectures: list[Literal["CLIPTextModelWithProjection"]] | None = None


@dataclass(frozen=True)
class Configs:
    """The configs of all networks that are not ONNX files."""

    unet: UNetConfig
    vae: VaeConfig
    text_encoder: TextEncoderConfig
    text_encoder_2: TextEncoder2Config
    controlnets: Mapping[str, ControlNetConfig]
    """By their engines' names."""


def read_configs(checkpoint: Checkpoint) -> Configs:
    """Read and check every network's ``config.json``; raises `CheckpointError`."""
    base = checkpoint.base
    for path in (base / "scheduler" / "scheduler_config.json", checkpoint.depth / "preprocessor_config.json"):
        read_object(path)
    _check_index(base / "model_index.json")
    return Configs(
        unet=_read(checkpoint.unet, UNetConfig, UNet2DConditionModel),
        vae=_read(base / "vae", VaeConfig, AutoencoderKL),
        text_encoder=_read(base / "text_encoder", TextEncoderConfig),
        text_encoder_2=_read(base / "text_encoder_2", TextEncoder2Config),
        controlnets={
            engine: _read(folder, ControlNetConfig, ControlNetModel)
            for engine, folder in checkpoint.controlnets.items()
        },
    )


def _check_index(path: Path) -> None:
    """Raise where the switch that the prompt's encoding reads is no switch; the file may be left out."""
    if not path.exists():
        return
    switch = read_object(path).get("force_zeros_for_empty_prompt", True)
    if not isinstance(switch, bool):
        raise CheckpointError(f"{path}: force_zeros_for_empty_prompt is {switch!r}; true or false is needed")


def _read(folder: Path, supported: type, known_to: type | None = None) -> Any:
    path = folder / "config.json"
    fields = read_object(path)
    try:
        config = supported.model_validate(fields)  # type: ignore[attr-defined]
    except ValidationError as error:
        raise CheckpointError(f"{path}: {_reason(error, fields)}") from error
    if known_to is not None:
        _check_other_fields(path, config.model_extra or {}, known_to)
    return config


def _reason(error: ValidationError, fields: dict[str, Any]) -> str:
    """Return the first fault in a sentence; a field of several types has a complaint of each."""
    errors = error.errors(include_url=False)
    if not errors[0]["loc"]:
        return errors[0]["msg"].removeprefix("Value error, ")
    name = str(errors[0]["loc"][0])
    needs = dict.fromkeys(e["msg"] for e in errors if str(e["loc"][0] if e["loc"] else "") == name)
    if errors[0]["type"] == "missing":
        return f"{name} is missing"
    wanted = " or ".join(need.removeprefix("Input should be ").replace("None", "null") for need in needs)
    return f"{name} is {_shown(fields.get(name))}; it should be {wanted}"


def _check_other_fields(path: Path, fields: dict[str, Any], known_to: type) -> None:
    defaults = {name: p.default for name, p in inspect.signature(known_to.__init__).parameters.items()}  # type: ignore[misc]
    for name, value in fields.items():
        if name.startswith("_") or value is None:
            continue
        if name not in defaults:
            raise CheckpointError(
                f"{path}: {name} is no field of diffusers' {known_to.__name__}: it is of another kind"
            )
        if value != defaults[name]:
            raise CheckpointError(
                f"{path}: {name} is {_shown(value)}, which is not supported; it should be {_shown(defaults[name])}"
            )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def check_depth(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` for a foreign family, an impossible config or a processor that fails or does not fit."""
    folder, config = checkpoint.depth, checkpoint.config(checkpoint.depth)
    network = depth_model(folder)
    is_distance(folder, config)
    if config.get("quantization_config") is not None:
        raise CheckpointError(f"{folder / 'config.json'}: quantization_config is not supported; it should be null")
    transformers_config(network, folder)
    depth_input(folder, config)
    check_picture_sizes(folder, picture_sizes(folder))
