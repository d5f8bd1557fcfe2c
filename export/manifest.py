"""Writing the manifest: what the Python models must know of the checkpoint."""

import json
from dataclasses import dataclass

import numpy as np

from insta_depth_shared.attributes import DEFAULTS
from insta_depth_shared.manifest import (
    DepthFacts,
    FaceFacts,
    ImageFacts,
    LatentFacts,
    Manifest,
    TextFacts,
)

from .checkpoint import Checkpoint
from .engines import Engine
from .facts import CELL_PX, Facts
from .few_steps import Recipe
from .precision import Precision
from .schedulers import Schedulers
from .triton_configs import ensemble_inputs

_LONGER_SIDE = 1280 / 1024
"""InstantID's max_side over its min_side."""


@dataclass(frozen=True)
class Sides:
    """Sizes of the pictures in pixels; None: from the checkpoint's own training size."""

    min_side: int | None = None
    max_side: int | None = None


@dataclass(frozen=True)
class Preview:
    """The fitted map from latents to colours."""

    weight: list[list[float]]
    bias: list[float]


def make_manifest(
    name: str,
    checkpoint: Checkpoint,
    facts: Facts,
    table: dict[str, Engine],
    precision: Precision,
    sides: Sides,
    preview: Preview,
    schedulers: Schedulers,
    few_steps: Recipe | None = None,
) -> Manifest:
    """Return the manifest of one exported checkpoint; ``few_steps``: how it is used, if it was distilled."""
    inputs = ensemble_inputs(table)
    return Manifest(
        checkpoint=name,
        precision=precision.value,
        image=image_facts(facts, sides),
        latents=_latent_facts(checkpoint, facts, preview),
        text=TextFacts(
            token_count=facts.token_count,
            hidden_size=facts.cross_attention_width,
            pooled_size=facts.pooled_width,
            force_zeros_for_empty_prompt=_force_zeros(checkpoint),
        ),
        face=FaceFacts(
            embedding_size=facts.face_embedding_width,
            token_count=facts.face_token_count,
            detector_sizes=list(facts.detector_sides),
            same_person_cosine=facts.same_person_cosine,
        ),
        depth=DepthFacts(is_distance=facts.depth_is_distance),
        scheduler=schedulers.config,
        schedulers=list(schedulers.offered),
        denoise_step_inputs={n: np.dtype(t.dtype or precision.io_dtype).name for n, t in inputs.items()},
        defaults={**DEFAULTS, **(few_steps.defaults if few_steps else {}), "scheduler": schedulers.default},
        few_steps=few_steps.facts if few_steps else None,
        can_refine=facts.can_refine,
    )


def offers(manifest: Manifest) -> dict[str, str]:
    """Return what clients ask of a checkpoint before a request, as ``parameters`` of the models that take requests."""
    return {
        "schedulers": ", ".join(manifest.schedulers),
        "default_scheduler": manifest.defaults["scheduler"],
        "defaults": json.dumps(manifest.defaults | {"max_side": manifest.image.max_side}),
    }


def image_facts(facts: Facts, sides: Sides) -> ImageFacts:
    """Return the pictures' sizes: those of ``sides``, else the checkpoint's."""
    min_side = sides.min_side or facts.min_side
    max_side = sides.max_side or max(min_side, int(min_side * _LONGER_SIDE) // CELL_PX * CELL_PX)
    return ImageFacts(min_side=min_side, max_side=max_side, multiple=CELL_PX)


def _latent_facts(checkpoint: Checkpoint, facts: Facts, preview: Preview) -> LatentFacts:
    return LatentFacts(
        channels=facts.latent_channels,
        scale_factor=facts.vae_factor,
        scaling_factor=checkpoint.config(checkpoint.base / "vae")["scaling_factor"],
        preview_weight=preview.weight,
        preview_bias=preview.bias,
    )


def _force_zeros(checkpoint: Checkpoint) -> bool:
    """diffusers' SDXL pipelines default to True; the published model_index.json says so too."""
    path = checkpoint.base / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return index.get("force_zeros_for_empty_prompt", True)
