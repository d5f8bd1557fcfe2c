"""Widths and depths of a checkpoint: the architecture is SDXL's and InstantID's, only the numbers are small."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TextEncoderConfig:
    """One CLIP text encoder. ``projection_size`` matters for the second one only."""

    hidden_size: int
    layers: int
    heads: int
    activation: str
    projection_size: int


@dataclass(frozen=True)
class UNetConfig:
    """SDXL's three levels, the first without attention. Head sizes are ``channels / heads``."""

    channels: tuple[int, int, int] = (64, 96, 128)
    heads: tuple[int, int, int] = (4, 6, 8)
    transformer_layers: tuple[int, int, int] = (1, 1, 1)
    layers_per_block: int = 1
    norm_groups: int = 8
    time_id_size: int = 32
    condition_channels: tuple[int, ...] = (8, 12, 16, 24)
    """Widths of a ControlNet's four-step stem, which brings pixels to latent cells."""


@dataclass(frozen=True)
class VaeConfig:
    """Four levels, so that one latent cell is 8 pixels."""

    channels: tuple[int, int, int, int] = (16, 32, 64, 96)
    layers_per_block: int = 1
    norm_groups: int = 8


@dataclass(frozen=True)
class ProjectorConfig:
    """InstantID's perceiver resampler (published: width 1280, 20 heads)."""

    width: int = 128
    depth: int = 4
    heads: int = 2
    head_size: int = 64
    queries: int = 16
    feed_forward_factor: int = 4


@dataclass(frozen=True)
class DepthConfig:
    """A transformers depth-estimation network."""

    kind: Literal["dpt", "depth_anything"] = "dpt"
    image_size: int = 192
    hidden_size: int = 64
    layers: int = 4
    heads: int = 4
    neck_sizes: tuple[int, int, int, int] = (16, 24, 32, 48)
    fusion_size: int = 16


@dataclass(frozen=True)
class CheckpointConfig:
    """The sizes of a checkpoint.

    ``latent_size`` is ``unet.config.sample_size``: the shorter side of a picture is eight times that.
    """

    latent_size: int = 16
    vocabulary_size: int = 1000
    unet: UNetConfig = UNetConfig()
    vae: VaeConfig = VaeConfig()
    text_encoder: TextEncoderConfig = TextEncoderConfig(48, 3, 4, "quick_gelu", 48)
    text_encoder_2: TextEncoderConfig = TextEncoderConfig(80, 3, 4, "gelu", 80)
    projector: ProjectorConfig = ProjectorConfig()
    depth: DepthConfig = DepthConfig()
    depth_controlnet: Literal["full", "small"] = "full"
    recognizer_channels: tuple[int, ...] = (16, 32, 64, 96)
    face_embedding_size: int = 512

    @property
    def cross_attention_size(self) -> int:
        """Width of the text tokens: both encoders' hidden states side by side."""
        return self.text_encoder.hidden_size + self.text_encoder_2.hidden_size
