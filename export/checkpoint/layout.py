"""Where each part of a checkpoint lies, in the layouts in which the weights are published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .files import check_readable, read_object


@dataclass(frozen=True)
class Lora:
    """A LoRA that is fused into the base: a file, or a folder that holds one."""

    path: Path
    scale: float = 1.0

    @property
    def file(self) -> Path:
        """The file; in a folder the one that diffusers writes, or the only one."""
        if not self.path.is_dir():
            return self.path
        named = self.path / "pytorch_lora_weights.safetensors"
        found = [named] if named.exists() else sorted(self.path.glob("*.safetensors"))
        if len(found) != 1:
            raise CheckpointError(f"{self.path} holds {len(found)} .safetensors files; name the one that is the LoRA")
        return found[0]


@dataclass(frozen=True)
class Checkpoint:
    """Paths of the five parts; each may lie elsewhere than below one folder. ``loras`` are fused into the base."""

    base: Path
    instantid: Path
    controlnet_depth: Path
    depth: Path
    antelopev2: Path
    loras: tuple[Lora, ...] = ()

    @classmethod
    def at(cls, folder: Path, loras: tuple[Lora, ...] = (), **overrides: Path | None) -> "Checkpoint":
        """Return the checkpoint below ``folder``, with parts replaced by ``overrides`` that are not None.

        Raises `CheckpointError` naming every file that is missing, or the first that cannot be read.
        """
        parts = {
            "base": folder / "base",
            "instantid": folder / "instantid",
            "controlnet_depth": folder / "controlnet-depth",
            "depth": folder / "depth",
            "antelopev2": folder / "antelopev2",
        }
        parts |= {name: path for name, path in overrides.items() if path is not None}
        checkpoint = cls(**parts, loras=loras)
        checkpoint._check()
        return checkpoint

    @property
    def ip_adapter(self) -> Path:
        """InstantID's projector and face attention."""
        return self.instantid / "ip-adapter.bin"

    @property
    def identitynet(self) -> Path:
        """InstantID's ControlNet over the drawing of the face keypoints."""
        return self.instantid / "ControlNetModel"

    @property
    def face_detector(self) -> Path:
        """SCRFD with keypoints."""
        return self.antelopev2 / "scrfd_10g_bnkps.onnx"

    @property
    def face_recognizer(self) -> Path:
        """ArcFace."""
        return self.antelopev2 / "glintr100.onnx"

    def config(self, part: Path) -> dict[str, Any]:
        """Return the ``config.json`` of one network's folder; raises `CheckpointError`."""
        return read_object(part / "config.json")

    def _check(self) -> None:
        networks = ("unet", "vae", "text_encoder", "text_encoder_2")
        needed = [
            *(self.base / name / "config.json" for name in networks),
            *(self.base / name / "tokenizer_config.json" for name in ("tokenizer", "tokenizer_2")),
            self.base / "scheduler" / "scheduler_config.json",
            self.ip_adapter,
            self.identitynet / "config.json",
            self.controlnet_depth / "config.json",
            self.depth / "config.json",
            self.depth / "preprocessor_config.json",
            self.face_detector,
            self.face_recognizer,
            *(lora.file for lora in self.loras),
        ]
        missing = [str(path) for path in needed if not path.exists()]
        if missing:
            raise CheckpointError("the checkpoint is incomplete; missing: " + ", ".join(missing))
        for path in needed:
            check_readable(path)
