"""The engine table: every tensor of every engine, once.

ONNX input names and dynamic axes, sample inputs, parity checks, Triton's ensemble and (later) TensorRT's
profiles are all derived from it. Tensor names are diffusers'.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .facts import CELL_PX, Facts, Residual

Kind = Literal["normal", "unit", "timestep", "token", "picture"]


@dataclass(frozen=True)
class Axis:
    """A dynamic dimension: ``factor`` × the value of ``symbol``."""

    symbol: str
    factor: int = 1


Dim = int | Axis
ROWS = Axis("rows")
TOKENS = Axis("tokens")


@dataclass(frozen=True)
class Tensor:
    """``dtype`` None means the engine's float type; ``kind`` says what sample values look like."""

    name: str
    dims: tuple[Dim, ...]
    dtype: str | None = None
    kind: Kind = "normal"

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape with each symbol replaced by its value in ``sizes``."""
        return tuple(d if isinstance(d, int) else d.factor * sizes[d.symbol] for d in self.dims)


@dataclass(frozen=True)
class Engine:
    """One network's signature: its inputs and outputs."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sizes: tuple[Mapping[str, int], ...] = field(default=())
    """Sizes at which parity is checked; the first one is the sample for export."""

    @property
    def symbols(self) -> set[str]:
        """Names of the dynamic dimensions of the inputs."""
        return {d.symbol for tensor in self.inputs for d in tensor.dims if isinstance(d, Axis)}


def sample_inputs(engine: Engine, sizes: Mapping[str, int], io_dtype: np.dtype, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random inputs of ``engine`` by name, at ``sizes``, plausible for each tensor's kind."""
    rng = np.random.default_rng(seed)
    return {t.name: _sample(t, t.shape(sizes), rng).astype(t.dtype or io_dtype) for t in engine.inputs}


def _sample(tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    match tensor.kind:
        case "unit":
            return rng.random(shape)
        case "timestep":
            return rng.integers(1, 1000, shape)
        case "token":
            return rng.integers(0, 100, shape)
        case "picture":
            return rng.integers(CELL_PX, 1281, shape)
        case _:
            return rng.standard_normal(shape)


def step_engine_names() -> tuple[str, ...]:
    """The engines of one denoising step, in the order in which they depend on each other."""
    return ("identitynet", "controlnet_depth", "unet")


def engine_table(facts: Facts) -> dict[str, Engine]:
    """Return every engine that export makes from a checkpoint of these ``facts``, by name."""
    engines = (
        *_face_engines(facts),
        *_text_engines(facts),
        _depth_estimator(facts),
        *_step_engines(facts),
        _vae_decoder(facts),
    )
    return {engine.name: engine for engine in engines}


def _plane(px: int, channels: int, name: str, **about: str) -> Tensor:
    """A (rows, channels, height, width) tensor with one element every ``px`` pixels."""
    factor = CELL_PX // px
    return Tensor(name, (ROWS, channels, Axis("height", factor), Axis("width", factor)), **about)  # type: ignore[arg-type]


def _face_engines(facts: Facts) -> tuple[Engine, ...]:
    strides = (8, 16, 32)
    widths = {"score": 1, "bbox": 4, "kps": 10}
    outputs = tuple(
        Tensor(f"{part}_{stride}", (1, Axis(f"anchors_{stride}"), width), "float32")
        for part, width in widths.items()
        for stride in strides
    )
    side: Dim = facts.detector_sides[0] if facts.detector_is_fixed else Axis("side", 32)
    detector_image = Tensor("image", (1, 3, side, side), "float32")
    crop_rows: Dim = facts.recognizer_rows or ROWS
    crop = Tensor("image", (crop_rows, 3, 112, 112), "float32")
    return (
        Engine("face_detector", (detector_image,), outputs, sizes=({"side": 20}, {"side": 10})),
        Engine(
            "face_recognizer",
            (crop,),
            (Tensor("embedding", (crop_rows, facts.face_embedding_width), "float32"),),
            sizes=_ROW_SIZES,
        ),
        Engine(
            "identity_projector",
            (Tensor("face_emb", (ROWS, facts.face_embedding_width)),),
            (Tensor("prompt_image_emb", (ROWS, facts.face_token_count, facts.cross_attention_width)),),
            sizes=_ROW_SIZES,
        ),
    )


_ROW_SIZES: tuple[Mapping[str, int], ...] = ({"rows": 2}, {"rows": 1}, {"rows": 3})


def _text_engines(facts: Facts) -> tuple[Engine, ...]:
    input_ids = Tensor("input_ids", (ROWS, facts.token_count), "int64", "token")

    def hidden(width: int) -> Tensor:
        return Tensor("hidden_states", (ROWS, facts.token_count, width))

    text_embeds = Tensor("text_embeds", (ROWS, facts.pooled_width))
    return (
        Engine("text_encoder", (input_ids,), (hidden(facts.text_width),), sizes=_ROW_SIZES),
        Engine("text_encoder_2", (input_ids,), (hidden(facts.text_width_2), text_embeds), sizes=_ROW_SIZES),
    )


def _depth_estimator(facts: Facts) -> Engine:
    size, multiple = facts.depth_input.fixed_size, facts.depth_input.multiple
    height: Dim = size[0] if size else Axis("depth_height", multiple)
    width: Dim = size[1] if size else Axis("depth_width", multiple)
    patches = ((4, 5), (6, 4), (5, 5))
    sizes = tuple(dict(s, depth_height=h, depth_width=w) for s, (h, w) in zip(_ROW_SIZES, patches, strict=True))
    return Engine(
        "depth_estimator",
        (Tensor("pixel_values", (ROWS, 3, height, width)),),
        (Tensor("predicted_depth", (ROWS, height, width)),),
        sizes=sizes,
    )


def residual_tensors(facts: Facts, prefix: str = "") -> tuple[Tensor, ...]:
    """The residuals of one ControlNet, mid block last; ``prefix`` tells two nets' apart."""

    def tensor(name: str, residual: Residual) -> Tensor:
        return _plane(facts.vae_factor * 2**residual.level, residual.channels, prefix + name)

    down = [tensor(f"down_block_res_sample_{i}", r) for i, r in enumerate(facts.residuals)]
    return (*down, tensor("mid_block_res_sample", facts.middle))


def _step_engines(facts: Facts) -> tuple[Engine, ...]:
    sample = _plane(facts.vae_factor, facts.latent_channels, "sample")
    timestep = Tensor("timestep", (ROWS, 1), "float32", "timestep")
    text = Tensor("encoder_hidden_states", (ROWS, TOKENS, facts.cross_attention_width))
    face = Tensor("prompt_image_emb", (ROWS, facts.face_token_count, facts.cross_attention_width))
    added = (
        Tensor("text_embeds", (ROWS, facts.pooled_width)),
        Tensor("time_ids", (ROWS, facts.time_id_count), None, "picture"),
    )
    picture = _plane(1, 3, "controlnet_cond", kind="unit")
    mask = _plane(1, 1, "region_mask", kind="unit")
    scale = Tensor("conditioning_scale", (ROWS, 1), None, "unit")
    face_as_text = Tensor("encoder_hidden_states", face.dims)
    depth_text = (text,) if facts.depth_net_reads_text else ()
    ip_scale = Tensor("ip_adapter_scale", (ROWS, 1), None, "unit")
    residuals = residual_tensors(facts)
    summed = residual_tensors(facts, "identitynet_") + residual_tensors(facts, "controlnet_depth_")
    noise = _plane(facts.vae_factor, facts.latent_channels, "noise_pred")
    return (
        Engine(
            "identitynet",
            (sample, timestep, face_as_text, picture, *added, scale, mask),
            residuals,
            sizes=_STEP_SIZES,
        ),
        Engine(
            "controlnet_depth",
            (sample, timestep, *depth_text, picture, *added, scale),
            residuals,
            sizes=_STEP_SIZES,
        ),
        Engine(
            "unet",
            (sample, timestep, text, face, ip_scale, mask, *added, *summed),
            (noise,),
            sizes=_STEP_SIZES,
        ),
    )


_STEP_SIZES: tuple[Mapping[str, int], ...] = (
    {"rows": 2, "height": 2, "width": 3, "tokens": 77},
    {"rows": 1, "height": 3, "width": 2, "tokens": 154},
    {"rows": 3, "height": 2, "width": 2, "tokens": 77},
)


def _vae_decoder(facts: Facts) -> Engine:
    latents = _plane(facts.vae_factor, facts.latent_channels, "latents")
    latents = Tensor(latents.name, latents.dims, "float32")
    image = Tensor("image", (ROWS, Axis("height", CELL_PX), Axis("width", CELL_PX), 3), "uint8")
    return Engine("vae_decoder", (latents,), (image,), sizes=_STEP_SIZES)
