"""The two sides of a comparison: a repository, and what runs its engines."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from ..engines import Engine
from ..errors import ExportError
from ..in_process import Arrays, RunEngine, manifest, onnx_engine
from ..networks.loading import load_diffusers
from ..networks.vae_decoder import VaeDecoder
from ..onnx_signature import check_signature
from ..plans.tensorrt_module import require_tensorrt


@dataclass(frozen=True)
class Side:
    """``name``: for tables; ``open_engine``: opens an engine from its version folder.

    ``check_engine``: raises `ExportError` if an ONNX file is not the table's engine; None: there is nothing to check.
    """

    name: str
    repository: Path
    open_engine: Callable[[Path], RunEngine]
    check_engine: Callable[[Engine, Path, np.dtype], None] | None = None

    @property
    def io_dtype(self) -> np.dtype:
        """The float type of this side's inputs and outputs."""
        return np.dtype(manifest(self.repository).numpy_dtype)


def onnx_side(repository: Path) -> Side:
    """The repository's ONNX engines on ONNX Runtime; raises `ExportError` if it has none."""
    if not (repository / "unet" / "1" / "model.onnx").exists():
        raise ExportError(f"{repository} has no ONNX engines: name the repository that it was built from by --against")
    return Side("ONNX Runtime", repository, onnx_engine, check_signature)


def tensorrt_side(repository: Path) -> Side:
    """The repository's plans on TensorRT; raises `TensorRTMissing`, or `ExportError` if it has none."""
    require_tensorrt()
    if not (repository / "unet" / "1" / "model.plan").exists():
        raise ExportError(f"{repository} has no plans: python -m export tensorrt builds them")
    return Side("TensorRT", repository, plan_engine)


def plan_engine(folder: Path) -> RunEngine:
    """Open ``model.plan`` in an engine's version folder, for arrays on the host."""
    from ..plans.runner import PlanRunner

    plan = PlanRunner(folder / "model.plan", torch.device("cuda", torch.cuda.current_device()))

    def run(inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        made = plan({name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: made[name].numpy(force=True) for name in outputs}

    return run


def with_vae_of(side: Side, folder: Path) -> Side:
    """``side`` with another VAE: that of ``folder`` (diffusers' layout), in PyTorch and fp32.

    Raises `CheckpointError` if ``folder`` holds none.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decoder = VaeDecoder(load_diffusers(AutoencoderKL, folder, torch.float32)).to(device).eval()

    @torch.inference_mode()
    def decode(inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        (latents,), (image,) = inputs.values(), outputs
        return {image: decoder(torch.from_numpy(latents).to(device).float()).numpy(force=True)}

    def open_engine(version: Path) -> RunEngine:
        return decode if version.parent.name == "vae_decoder" else side.open_engine(version)

    return dataclasses.replace(side, name=f"{side.name}, VAE of {folder}", open_engine=open_engine)
