"""What a checkpoint says about the shapes of its networks; no weights are read into memory."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from insta_depth_shared.manifest import SAME_PERSON_COSINE

from .checkpoint import Checkpoint, load_ip_adapter
from .checkpoint.files import read_object
from .depth import DepthInput, depth_input, is_distance
from .errors import CheckpointError
from .face_inputs import detector_sides, recognizer_rows, same_person_cosine

CELL_PX = 64
"""Heights and widths are multiples of this many pixels, as in InstantID's own resizing."""
TIME_IDS = 6
"""SDXL's sizes: of the original, of the crop's corner and of the target, two numbers each."""


@dataclass(frozen=True)
class Residual:
    """One residual of a ControlNet: its channels and how often it was halved from the latents' size."""

    channels: int
    level: int


@dataclass(frozen=True)
class Facts:
    """Everything that the engine table needs to know of a checkpoint."""

    latent_channels: int
    vae_factor: int
    levels: int
    text_width: int
    text_width_2: int
    pooled_width: int
    token_count: int
    time_id_count: int
    residuals: tuple[Residual, ...]
    middle: Residual
    text_readers: tuple[str, ...]
    """ControlNets with cross-attention, by their engines' names."""
    depth_input: DepthInput
    face_token_count: int
    face_embedding_width: int
    detector_sides: tuple[int, ...]
    detector_is_fixed: bool
    recognizer_rows: int | None
    min_side: int
    depth_is_distance: bool = False
    """Whether the depth estimator's larger values are farther (metres); else nearer (inverse depth)."""
    same_person_cosine: float = SAME_PERSON_COSINE
    """Below it two of the recogniser's embeddings are of different people."""
    can_refine: bool = False
    """Whether there is an engine that encodes pictures, for the second pass over a face."""

    @property
    def cross_attention_width(self) -> int:
        """The width of the text's and the face's tokens: both text encoders side by side."""
        return self.text_width + self.text_width_2


def read_facts(checkpoint: Checkpoint, can_refine: bool = True) -> Facts:
    """Read the configs of a checkpoint that `checks.check_checkpoint` has found good."""
    base, unet = checkpoint.base, checkpoint.config(checkpoint.unet)
    vae, text, text_2 = (checkpoint.config(base / name) for name in ("vae", "text_encoder", "text_encoder_2"))
    depth = checkpoint.config(checkpoint.depth)
    vae_factor = 2 ** (len(vae["block_out_channels"]) - 1)
    projector = load_ip_adapter(checkpoint)["image_proj"]
    sides = detector_sides(checkpoint.face_detector)
    return Facts(
        latent_channels=unet["in_channels"],
        vae_factor=vae_factor,
        levels=len(unet["block_out_channels"]),
        text_width=text["hidden_size"],
        text_width_2=text_2["hidden_size"],
        pooled_width=text_2["projection_dim"],
        token_count=_token_count(checkpoint, text, text_2),
        time_id_count=TIME_IDS,
        residuals=unet_residuals(unet),
        middle=Residual(unet["block_out_channels"][-1], len(unet["block_out_channels"]) - 1),
        text_readers=tuple(
            engine for engine, folder in checkpoint.controlnets.items() if reads_text(checkpoint.config(folder))
        ),
        depth_is_distance=is_distance(checkpoint.depth, depth),
        can_refine=can_refine,
        depth_input=depth_input(checkpoint.depth, depth),
        face_token_count=projector["latents"].shape[1],
        face_embedding_width=projector["proj_in.weight"].shape[1],
        detector_sides=sides,
        detector_is_fixed=len(sides) == 1,
        recognizer_rows=recognizer_rows(checkpoint.face_recognizer),
        same_person_cosine=same_person_cosine(checkpoint.face_recognizer),
        min_side=(unet.get("sample_size") or 128) * vae_factor,
    )


def _token_count(checkpoint: Checkpoint, *encoders: dict[str, Any]) -> int:
    """Tokens a prompt is padded to: the tokenizers say, as in diffusers; no more than the encoders can read."""
    configs = (checkpoint.base / name / "tokenizer_config.json" for name in ("tokenizer", "tokenizer_2"))
    tokenizers = [read_object(path) for path in configs]
    limits = [config["model_max_length"] for config in tokenizers if config.get("model_max_length")]
    return min([*limits, *(encoder.get("max_position_embeddings", 77) for encoder in encoders)])


def _per_block(value: int | list[int], blocks: int) -> list[int]:
    return [value] * blocks if isinstance(value, int) else list(value)


def unet_residuals(config: dict[str, Any]) -> tuple[Residual, ...]:
    """The skip connections of a UNet's way down, in diffusers' order."""
    widths = config["block_out_channels"]
    layers = _per_block(config.get("layers_per_block", 2), len(widths))
    residuals = [Residual(widths[0], 0)]
    for level, (width, count) in enumerate(zip(widths, layers, strict=True)):
        residuals += [Residual(width, level)] * count
        if level < len(widths) - 1:
            residuals.append(Residual(width, level + 1))
    return tuple(residuals)


def reads_text(config: dict[str, Any]) -> bool:
    """Whether a ControlNet has cross-attention; the published ``-small`` has none.

    A cross-attention block without transformer layers reads nothing.
    """
    down, middle = config["down_block_types"], config.get("mid_block_type") or "UNetMidBlock2DCrossAttn"
    layers = _per_block(config.get("transformer_layers_per_block", 1), len(down))
    blocks = [*zip(down, layers, strict=True), (middle, layers[-1])]
    return any("CrossAttn" in block and bool(count) for block, count in blocks)


def save_facts(facts: Facts, path: Path) -> None:
    """Write ``facts`` beside the models made from them, for steps that no longer have the checkpoint."""
    path.write_text(json.dumps(asdict(facts), indent=2) + "\n", encoding="utf-8")


def load_facts(path: Path) -> Facts:
    """Read what `save_facts` wrote; raises `CheckpointError` where it can't."""
    if not path.exists():
        raise CheckpointError(f"{path} is missing: export the checkpoint again with this version")
    content, stale = read_object(path), f"{path} is of another version: export the checkpoint again with this one"
    if set(content) != {fact.name for fact in fields(Facts)}:
        raise CheckpointError(stale)
    try:
        return _facts(content)
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(stale) from error


def _facts(content: dict[str, Any]) -> Facts:
    depth = content["depth_input"]
    size = depth["fixed_size"]
    return Facts(
        **content
        | {
            "text_readers": tuple(content["text_readers"]),
            "residuals": tuple(Residual(**residual) for residual in content["residuals"]),
            "middle": Residual(**content["middle"]),
            "depth_input": DepthInput(depth["multiple"], (size[0], size[1]) if size else None),
            "detector_sides": tuple(content["detector_sides"]),
        }
    )
