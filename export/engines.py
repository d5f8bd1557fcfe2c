"""The engine table: one row for each engine, from where its weights lie to what the ensemble calls its inputs.

ONNX names and axes, sample inputs, parity checks, the checkpoint's checks, Triton's ensemble and TensorRT's profiles
all follow from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from . import signatures
from .checkpoint import Checkpoint
from .checkpoint.adapter import ATTENTION, PROJECTOR
from .controlnets import CONTROLNETS, ControlNet
from .facts import Facts
from .networks import builders
from .networks.depth_estimator import depth_model
from .precision import Precision, Precisions
from .signatures import Signature, Sizes
from .tensors import Axis, Tensor, sample

Builder = Callable[[Checkpoint, Facts, torch.dtype], nn.Module]


@dataclass(frozen=True)
class Source:
    """Where an engine's weights lie in a checkpoint.

    ``path``: a folder with ``config.json`` and weights, or a file. ``network``: the library's class whose weights
    the folder has, None for a file. ``adapter``: the part of ``ip-adapter.bin`` that belongs to it.
    """

    path: Callable[[Checkpoint], Path]
    network: Callable[[Path], type[nn.Module]] | None = None
    adapter: str | None = None

    def files(self, checkpoint: Checkpoint) -> list[Path]:
        """Return every file that the engine is made from, LoRAs apart."""
        path = self.path(checkpoint)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return files if self.adapter is None or checkpoint.ip_adapter in files else [*files, checkpoint.ip_adapter]


@dataclass(frozen=True)
class Row:
    """One engine: what it is made from, by what, and its tensors.

    ``build`` is None where the checkpoint has the network as ONNX already. ``outer_names``: what the ensemble
    ``denoise_step`` calls an input, where the two names differ. ``is_fp32_unless_named``: it runs once a request and
    every step repeats its rounding, so that ``--precision fp16`` leaves it in fp32; docs/architecture.md has figures.
    ``is_wanted``: whether an export of these facts has it at all.
    """

    name: str
    source: Source
    build: Builder | None
    signature: Callable[[Facts], Signature]
    sizes: Sizes
    outer_names: Mapping[str, str] = field(default_factory=dict)
    is_fp32_unless_named: bool = False
    is_wanted: Callable[[Facts], bool] = lambda facts: True

    def engine(self, facts: Facts) -> "Engine":
        """Return the engine that export makes from a checkpoint of these ``facts``."""
        inputs, outputs = self.signature(facts)
        return Engine(self.name, inputs, outputs, self.sizes, self.outer_names)

    def module(self, checkpoint: Checkpoint, facts: Facts, precision: Precision) -> nn.Module:
        """Return the network with its weights in ``precision``, on the CPU, in eval mode."""
        if self.build is None:
            raise TypeError(f"{self.name} is published as ONNX")
        return self.build(checkpoint, facts, precision.torch_dtype).eval().requires_grad_(False)

    def precision(self, checkpoint: Checkpoint, precisions: Precisions) -> Precision:
        """Return the precision that it is exported in; what is published as ONNX stays as it is.

        SDXL's stock VAE overflows in fp16 and so stays fp32.
        """
        precision = precisions.of(self.name) if self.build else Precision.FP32
        if precision is not Precision.FP16:
            return precision
        overflows = self.name.startswith("vae_") and checkpoint.config(checkpoint.base / "vae").get(
            "force_upcast", True
        )
        is_kept = self.is_fp32_unless_named and self.name not in precisions.others
        return Precision.FP32 if overflows or is_kept else precision


@dataclass(frozen=True)
class Engine:
    """One network's signature: its inputs and outputs."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sizes: Sizes = ()
    """Sizes at which parity is checked; the first one is the sample for export."""
    outer_names: Mapping[str, str] = field(default_factory=dict)
    """What the ensemble calls an input, where the two names differ."""

    @property
    def symbols(self) -> set[str]:
        """Names of the dynamic dimensions of the inputs."""
        return {d.symbol for tensor in self.inputs for d in tensor.dims if isinstance(d, Axis)}


def sample_inputs(engine: Engine, sizes: Mapping[str, int], io_dtype: np.dtype, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random inputs of ``engine`` by name, at ``sizes``, plausible for each tensor's kind."""
    rng = np.random.default_rng(seed)
    return {t.name: sample(t, t.shape(sizes), rng).astype(t.dtype or io_dtype) for t in engine.inputs}


def _in_base(folder: str, network: type[nn.Module]) -> Source:
    return Source(lambda checkpoint: checkpoint.base / folder, lambda _: network)


def _controlnet(net: ControlNet) -> Row:
    outer_names = {"controlnet_cond": net.picture, "conditioning_scale": net.scale}
    if net.reads_face:
        outer_names["encoder_hidden_states"] = "prompt_image_emb"
    return Row(
        net.engine,
        Source(lambda checkpoint: checkpoint.controlnets[net.engine], lambda _: ControlNetModel),
        partial(builders.controlnet, net),
        partial(signatures.controlnet, net),
        signatures.STEP_SIZES,
        outer_names,
    )


STEP_ENGINES = (
    *(_controlnet(net) for net in CONTROLNETS),
    Row(
        "unet",
        Source(lambda checkpoint: checkpoint.unet, lambda _: UNet2DConditionModel, ATTENTION),
        builders.unet,
        signatures.unet,
        signatures.STEP_SIZES,
    ),
)
"""The engines of one denoising step, in the order in which they depend on each other."""

ENGINES = (
    Row(
        "face_detector",
        Source(lambda checkpoint: checkpoint.face_detector),
        None,
        signatures.face_detector,
        signatures.SIDES,
    ),
    Row(
        "face_recognizer",
        Source(lambda checkpoint: checkpoint.face_recognizer),
        None,
        signatures.face_recognizer,
        signatures.ROW_COUNTS,
    ),
    Row(
        "identity_projector",
        Source(lambda checkpoint: checkpoint.ip_adapter, adapter=PROJECTOR),
        builders.identity_projector,
        signatures.identity_projector,
        signatures.ROW_COUNTS,
        is_fp32_unless_named=True,
    ),
    Row(
        "text_encoder",
        _in_base("text_encoder", CLIPTextModel),
        builders.text_encoder,
        signatures.text_encoder,
        signatures.ROW_COUNTS,
        is_fp32_unless_named=True,
    ),
    Row(
        "text_encoder_2",
        _in_base("text_encoder_2", CLIPTextModelWithProjection),
        builders.text_encoder_2,
        signatures.text_encoder_2,
        signatures.ROW_COUNTS,
        is_fp32_unless_named=True,
    ),
    Row(
        "depth_estimator",
        Source(lambda checkpoint: checkpoint.depth, depth_model),
        builders.depth_estimator,
        signatures.depth_estimator,
        signatures.DEPTH_SIZES,
        is_fp32_unless_named=True,
    ),
    *STEP_ENGINES,
    Row(
        "vae_decoder",
        _in_base("vae", AutoencoderKL),
        builders.vae_decoder,
        signatures.vae_decoder,
        signatures.STEP_SIZES,
    ),
    Row(
        "vae_encoder",
        _in_base("vae", AutoencoderKL),
        builders.vae_encoder,
        signatures.vae_encoder,
        signatures.CROP_SIZES,
        is_wanted=lambda facts: facts.can_refine,
    ),
)
ROW_OF = {row.name: row for row in ENGINES}
PUBLISHED_AS_ONNX = frozenset(row.name for row in ENGINES if row.build is None)


def step_engine_names() -> tuple[str, ...]:
    """Return the engines of one denoising step, in the order in which they depend on each other."""
    return tuple(row.name for row in STEP_ENGINES)


def engine_table(facts: Facts) -> dict[str, Engine]:
    """Return every engine that export makes from a checkpoint of these ``facts``, by name."""
    return {row.name: row.engine(facts) for row in ENGINES if row.is_wanted(facts)}
