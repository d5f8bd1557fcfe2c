"""Writes a whole checkpoint folder in the published layouts."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .architecture import CheckpointConfig
from .depth import write_depth
from .detector import FaceDetector, export_detector
from .diffusion import build_controlnet, write_base
from .instantid import write_instantid
from .recognizer import build_recognizer, write_recognizer
from .samples import draw_faces, write_demo_pictures
from .tokenizer import END, train_merges, write_tokenizer
from .world.prompts import every_word

_NETWORK_SEEDS = 10
_FACES = 256


def write_checkpoint(folder: Path, config: CheckpointConfig, seed: int, detector: FaceDetector) -> None:
    """Write a checkpoint with random weights and the given face detector; ``folder`` appears when complete."""
    with appearing_at(folder) as draft:
        unet = write_base(draft / "base", config, seed)
        write_tokenizers(draft / "base", config)
        write_instantid(draft / "instantid", unet, config, seed + _NETWORK_SEEDS)
        depth_net = build_controlnet(config, seed + 2 * _NETWORK_SEEDS, config.depth_controlnet == "full")
        depth_net.save_pretrained(draft / "controlnet-depth")
        write_depth(draft / "depth", config, seed + 3 * _NETWORK_SEEDS)
        _write_face_models(draft / "antelopev2", config, seed + 4 * _NETWORK_SEEDS, detector)
        write_demo_pictures(draft / "pictures")


def write_tokenizers(base: Path, config: CheckpointConfig) -> None:
    """Write ``tokenizer`` and ``tokenizer_2`` into the base's folder."""
    merges = train_merges(every_word(), config.vocabulary_size)
    write_tokenizer(base / "tokenizer", merges, END)
    write_tokenizer(base / "tokenizer_2", merges, "!")


def _write_face_models(folder: Path, config: CheckpointConfig, seed: int, detector: FaceDetector) -> None:
    folder.mkdir()
    export_detector(detector, folder / "scrfd_10g_bnkps.onnx")
    recognizer = build_recognizer(config, seed, draw_faces(_FACES, seed))
    write_recognizer(folder / "glintr100.onnx", recognizer)


@contextmanager
def appearing_at(folder: Path) -> Iterator[Path]:
    """Yield a draft beside ``folder`` and move it there at the end: an interrupted run leaves no ``folder``."""
    draft = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    yield draft
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
