"""The inputs and outputs of each engine, from the facts of a checkpoint. Tensor names are diffusers'."""

from collections.abc import Mapping

from .controlnets import CONTROLNETS, ControlNet
from .facts import CELL_PX, Facts, Residual
from .tensors import ROWS, TOKENS, Axis, Dim, Tensor

Signature = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""An engine's inputs and outputs."""
Sizes = tuple[Mapping[str, int], ...]
"""Values of the dynamic dimensions at which parity is checked; the first one is the sample for export."""
_STRIDES = (8, 16, 32)

SIDES: Sizes = ({"side": 20}, {"side": 10})
ROW_COUNTS: Sizes = ({"rows": 2}, {"rows": 1}, {"rows": 3})
DEPTH_SIZES: Sizes = (
    {"rows": 2, "depth_height": 4, "depth_width": 5},
    {"rows": 1, "depth_height": 6, "depth_width": 4},
    {"rows": 3, "depth_height": 5, "depth_width": 5},
)
CROP_SIZES: Sizes = ({"rows": 2, "crop": 2}, {"rows": 1, "crop": 3}, {"rows": 3, "crop": 2})
STEP_SIZES: Sizes = (
    {"rows": 2, "height": 2, "width": 3, "tokens": 77},
    {"rows": 1, "height": 3, "width": 2, "tokens": 154},
    {"rows": 3, "height": 2, "width": 2, "tokens": 77},
)


def face_detector(facts: Facts) -> Signature:
    """SCRFD with keypoints: scores, boxes and keypoints of every anchor, by stride."""
    widths = {"score": 1, "bbox": 4, "kps": 10}
    outputs = tuple(
        Tensor(f"{part}_{stride}", (1, Axis(f"anchors_{stride}"), width), "float32")
        for part, width in widths.items()
        for stride in _STRIDES
    )
    side: Dim = facts.detector_sides[0] if facts.detector_is_fixed else Axis("side", 32)
    return (Tensor("image", (1, 3, side, side), "float32"),), outputs


def face_recognizer(facts: Facts) -> Signature:
    """ArcFace: crops to embeddings."""
    rows: Dim = facts.recognizer_rows or ROWS
    crop = Tensor("image", (rows, 3, 112, 112), "float32")
    return (crop,), (Tensor("embedding", (rows, facts.face_embedding_width), "float32"),)


def identity_projector(facts: Facts) -> Signature:
    """InstantID's resampler: an embedding to the face's tokens."""
    return (Tensor("face_emb", (ROWS, facts.face_embedding_width)),), (_face_tokens(facts, "prompt_image_emb"),)


def text_encoder(facts: Facts) -> Signature:
    """CLIP: tokens to hidden states."""
    return (_input_ids(facts),), (_hidden_states(facts, facts.text_width),)


def text_encoder_2(facts: Facts) -> Signature:
    """OpenCLIP: tokens to hidden states and the pooled text."""
    text_embeds = Tensor("text_embeds", (ROWS, facts.pooled_width))
    return (_input_ids(facts),), (_hidden_states(facts, facts.text_width_2), text_embeds)


def depth_estimator(facts: Facts) -> Signature:
    """A prepared picture to its depth."""
    size, multiple = facts.depth_input.fixed_size, facts.depth_input.multiple
    height: Dim = size[0] if size else Axis("depth_height", multiple)
    width: Dim = size[1] if size else Axis("depth_width", multiple)
    return (
        (Tensor("pixel_values", (ROWS, 3, height, width)),),
        (Tensor("predicted_depth", (ROWS, height, width)),),
    )


def controlnet(row: ControlNet, facts: Facts) -> Signature:
    """One step's latents and a conditioning picture to residuals, the mid block's last."""
    if row.reads_face:
        tokens: tuple[Tensor, ...] = (_face_tokens(facts, "encoder_hidden_states"),)
    else:
        tokens = (_text(facts),) if row.engine in facts.text_readers else ()
    picture = plane(1, 3, "controlnet_cond", kind="unit")
    scale = Tensor("conditioning_scale", (ROWS, 1), None, "unit")
    mask = (_region_mask(),) if row.reads_face else ()
    return (_sample(facts), _TIMESTEP, *tokens, picture, *_added(facts), scale, *mask), residuals(facts)


def unet(facts: Facts) -> Signature:
    """One step's latents, text, face and every ControlNet's residuals to the noise."""
    scale = Tensor("ip_adapter_scale", (ROWS, 1), None, "unit")
    face = (_face_tokens(facts, "prompt_image_emb"), scale, _region_mask())
    controls = (tensor for row in CONTROLNETS for tensor in residuals(facts, f"{row.engine}_"))
    noise = plane(facts.vae_factor, facts.latent_channels, "noise_pred")
    return (_sample(facts), _TIMESTEP, _text(facts), *face, *_added(facts), *controls), (noise,)


def vae_decoder(facts: Facts) -> Signature:
    """Latents to a picture's bytes."""
    latents = plane(facts.vae_factor, facts.latent_channels, "latents", dtype="float32")
    return (latents,), (Tensor("image", (ROWS, Axis("height", CELL_PX), Axis("width", CELL_PX), 3), "uint8"),)


def vae_encoder(facts: Facts) -> Signature:
    """A square picture's bytes to the distribution of its latents."""
    side, cells = Axis("crop", CELL_PX), Axis("crop", CELL_PX // facts.vae_factor)
    moments = (Tensor(name, (ROWS, facts.latent_channels, cells, cells), "float32") for name in ("mean", "std"))
    return (Tensor("image", (ROWS, side, side, 3), "uint8", "pixel"),), tuple(moments)


def residuals(facts: Facts, prefix: str = "") -> tuple[Tensor, ...]:
    """Return the residuals of one ControlNet, the mid block's last; ``prefix`` tells several nets' apart."""

    def tensor(name: str, residual: Residual) -> Tensor:
        return plane(facts.vae_factor * 2**residual.level, residual.channels, prefix + name)

    down = [tensor(f"down_block_res_sample_{i}", r) for i, r in enumerate(facts.residuals)]
    return (*down, tensor("mid_block_res_sample", facts.middle))


def plane(px: int, channels: int, name: str, **about: str) -> Tensor:
    """Return a (rows, channels, height, width) tensor with one element every ``px`` pixels."""
    factor = CELL_PX // px
    return Tensor(name, (ROWS, channels, Axis("height", factor), Axis("width", factor)), **about)  # type: ignore[arg-type]


_TIMESTEP = Tensor("timestep", (ROWS, 1), "float32", "timestep")


def _sample(facts: Facts) -> Tensor:
    return plane(facts.vae_factor, facts.latent_channels, "sample")


def _region_mask() -> Tensor:
    return plane(1, 1, "region_mask", kind="unit")


def _text(facts: Facts) -> Tensor:
    return Tensor("encoder_hidden_states", (ROWS, TOKENS, facts.cross_attention_width))


def _face_tokens(facts: Facts, name: str) -> Tensor:
    return Tensor(name, (ROWS, facts.face_token_count, facts.cross_attention_width))


def _added(facts: Facts) -> tuple[Tensor, Tensor]:
    return (
        Tensor("text_embeds", (ROWS, facts.pooled_width)),
        Tensor("time_ids", (ROWS, facts.time_id_count), None, "picture"),
    )


def _input_ids(facts: Facts) -> Tensor:
    return Tensor("input_ids", (ROWS, facts.token_count), "int64", "token")


def _hidden_states(facts: Facts, width: int) -> Tensor:
    return Tensor("hidden_states", (ROWS, facts.token_count, width))
