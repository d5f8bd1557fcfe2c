"""Facts about a checkpoint, written by export beside each Python model and read when it loads."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .attributes import DEFAULTS

FILE_NAME = "manifest.json"
SAME_PERSON_COSINE = 0.2
"""Below it two faces are of different people to insightface's demo of recognition (web-demos/src_recognition)."""


@dataclass(frozen=True)
class ImageFacts:
    """Picture sizes in pixels."""

    min_side: int
    max_side: int
    multiple: int = 64
    max_aspect: float = 4.0
    """Maximum aspect ratio of a pose picture; engines are built for sizes up to it."""

    @property
    def smallest_max_side(self) -> int:
        """The smallest ``max_side`` that a request may ask for: half the largest, as a multiple of ``multiple``."""
        return -(-self.max_side // (2 * self.multiple)) * self.multiple

    @property
    def refined_side(self) -> int:
        """Side of the square in which a face is denoised once more: the model's own size, of those that are served."""
        return max(self.min_side, self.smallest_max_side)


@dataclass(frozen=True)
class LatentFacts:
    """``scale_factor``: pixels per latent cell; ``scaling_factor``: the VAE's, already applied inside its engine."""

    channels: int
    scale_factor: int
    scaling_factor: float
    preview_weight: list[list[float]]
    """(3, channels): a linear map from latents to RGB in [0, 1]."""
    preview_bias: list[float]


@dataclass(frozen=True)
class TextFacts:
    """Facts about the text encoders, for `prompt_encoder` and the loop."""

    token_count: int
    hidden_size: int
    pooled_size: int
    force_zeros_for_empty_prompt: bool
    max_windows: int = 8


@dataclass(frozen=True)
class FaceFacts:
    """Facts about the face networks, for `face_analysis` and the loop.

    ``detector_sizes``: square input sizes to try in this order; a single one if the network's input is fixed.
    ``min_face_px``: minimum shorter side of a face's box, in pixels of the picture sent, for its embedding to
    identify the person. ``same_person_cosine``: below it two embeddings are of different people.
    """

    embedding_size: int
    token_count: int
    detector_sizes: list[int]
    detector_threshold: float = 0.5
    min_face_px: int = 24
    same_person_cosine: float = SAME_PERSON_COSINE


@dataclass(frozen=True)
class DepthFacts:
    """``is_distance``: whether the depth estimator's larger values are farther (metres) or nearer."""

    is_distance: bool = False


@dataclass(frozen=True)
class FewSteps:
    """What a checkpoint that was distilled to few steps is made for; requests may still ask for something else.

    ``kind``: as ``export onnx --few-steps`` names it. ``timesteps``: the network's at exactly ``max_steps`` steps,
    where they are not those that the scheduler would choose.
    """

    kind: str
    min_steps: int
    max_steps: int
    max_guidance_scale: float
    timesteps: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Manifest:
    """The whole file. ``precision`` is the engines' float type: fp32, fp16 or bf16."""

    checkpoint: str
    precision: str
    image: ImageFacts
    latents: LatentFacts
    text: TextFacts
    face: FaceFacts
    scheduler: dict[str, Any]
    """The checkpoint's ``scheduler_config.json``, ``_class_name`` included."""
    schedulers: list[str]
    """The scheduler names that a request may use."""
    denoise_step_inputs: dict[str, str]
    """The inputs of the ``denoise_step`` ensemble: name → numpy dtype."""
    max_rows: int = 16
    """Maximum rows in one call of the ``denoise_step`` engines."""
    defaults: dict[str, Any] = field(default_factory=DEFAULTS.copy)
    """Defaults of the attributes."""
    depth: DepthFacts = field(default_factory=DepthFacts)
    few_steps: FewSteps | None = None
    """None: an ordinary checkpoint."""
    can_refine: bool = False
    """Whether there is a ``vae_encoder``, which ``refine_face`` needs."""

    def save(self, folder: Path) -> None:
        """Write the manifest into ``folder``."""
        (folder / FILE_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read the manifest that lies in ``folder``."""
        content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        parts: dict[str, Any] = {
            "image": ImageFacts,
            "latents": LatentFacts,
            "text": TextFacts,
            "face": FaceFacts,
            "depth": DepthFacts,
        }
        if content.get("few_steps") is not None:
            parts["few_steps"] = FewSteps
        return cls(**content | {name: part(**content[name]) for name, part in parts.items() if name in content})

    def timesteps_of(self, scheduler: str, num_inference_steps: int) -> list[int]:
        """Return the timesteps that the checkpoint was made for, or none where the scheduler chooses them."""
        few = self.few_steps
        if few is None or scheduler != self.defaults["scheduler"] or num_inference_steps != few.max_steps:
            return []
        return few.timesteps

    @property
    def numpy_dtype(self) -> str:
        """The numpy name of the engines' float type (bf16 engines keep fp32 inputs and outputs)."""
        return "float16" if self.precision == "fp16" else "float32"
