"""Where each part of a checkpoint lies, in the layouts in which the weights are published."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..controlnets import CONTROLNETS
from ..errors import CheckpointError
from .files import check_readable, read_object

_INSTANTID = "instantid"
PARTS = (
    "base",
    _INSTANTID,
    *dict.fromkeys(net.part for net in CONTROLNETS if net.part != _INSTANTID),
    "depth",
    "antelopev2",
)
"""The folders of a checkpoint."""


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
    """Paths of the parts; each may lie elsewhere than below one folder.

    ``controlnets``: the folder of each, by its engine's name. ``unet``: the base's, or one that takes its place.
    ``loras`` are fused into the base.
    """

    base: Path
    instantid: Path
    depth: Path
    antelopev2: Path
    controlnets: Mapping[str, Path]
    unet: Path
    loras: tuple[Lora, ...] = ()

    @classmethod
    def at(
        cls, folder: Path, loras: tuple[Lora, ...] = (), unet: Path | None = None, **overrides: Path | None
    ) -> "Checkpoint":
        """Return the checkpoint below ``folder``, with ``unet`` and parts replaced by ``overrides`` that are not None.

        ``overrides``: `PARTS` with ``_`` for ``-``.
        Raises `CheckpointError` naming every file that is missing, or the first that cannot be read.
        """
        parts = {part: overrides.get(part.replace("-", "_")) or folder / part for part in PARTS}
        controlnets = {net.engine: parts[net.part] / net.subfolder for net in CONTROLNETS}
        unet = unet or parts["base"] / "unet"
        checkpoint = cls(
            parts["base"], parts[_INSTANTID], parts["depth"], parts["antelopev2"], controlnets, unet, loras
        )
        checkpoint._check()
        return checkpoint

    @property
    def ip_adapter(self) -> Path:
        """InstantID's projector and face attention."""
        return self.instantid / "ip-adapter.bin"

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
        networks = ("vae", "text_encoder", "text_encoder_2")
        needed = [
            self.unet / "config.json",
            *(self.base / name / "config.json" for name in networks),
            *(self.base / name / "tokenizer_config.json" for name in ("tokenizer", "tokenizer_2")),
            self.base / "scheduler" / "scheduler_config.json",
            self.ip_adapter,
            *(folder / "config.json" for folder in self.controlnets.values()),
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
