"""Whole pictures of the same request, with two runtimes."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from ..in_process import InProcess, generate, import_models_of, make_pipeline
from .sides import Side

MIN_PSNR_DB = 30.0
MIN_FACE_COSINE = 0.95


@dataclass(frozen=True)
class PictureRow:
    """One request's two pictures: how alike they are, and how alike their faces."""

    request: str
    psnr_db: float
    face_cosine: float | None
    """Of the recogniser's embeddings of the two pictures' faces; None if the reference shows no face."""

    @property
    def passed(self) -> bool:
        """Whether both measures are within their limits; NaN is not."""
        return self.psnr_db >= MIN_PSNR_DB and (self.face_cosine is None or self.face_cosine >= MIN_FACE_COSINE)


def compare_pictures(requests: Mapping[str, Mapping[str, Any]], reference: Side, tested: Side) -> list[PictureRow]:
    """Return a row for each of ``requests``, which are attributes of the API by a name for the table.

    One side makes all its pictures before the other starts, so that only one set of engines is in memory.
    """
    import_models_of(reference.repository)
    expected = _pictures(requests, reference)
    actual = _pictures(requests, tested)
    analyst = InProcess(reference.repository, reference.open_engine)
    return [_row(name, expected[name], actual[name], analyst) for name in requests]


def _pictures(requests: Mapping[str, Mapping[str, Any]], side: Side) -> dict[str, np.ndarray]:
    pipeline = make_pipeline(side.repository, InProcess(side.repository, side.open_engine))
    return {name: _decoded(generate(pipeline, {**r, "output_format": "png"}).image) for name, r in requests.items()}


def _decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def _row(name: str, expected: np.ndarray, actual: np.ndarray, analyst: InProcess) -> PictureRow:
    same = np.array_equal(expected, actual)
    psnr_db = float("inf") if same else float(peak_signal_noise_ratio(expected, actual, data_range=255))
    embeddings = [_face(picture, analyst) for picture in (expected, actual)]
    return PictureRow(name, psnr_db, face_cosine(*embeddings))


def _face(picture: np.ndarray, analyst: InProcess) -> np.ndarray | None:
    found = analyst.call_now("face_analysis", {"image": picture}, ["face_count", "embedding"])
    return found["embedding"] if found["face_count"].item() else None


def face_cosine(expected: np.ndarray | None, actual: np.ndarray | None) -> float | None:
    """Return the cosine of two embeddings: None without an expected face, 0 if the actual picture has no face."""
    if expected is None:
        return None
    if actual is None:
        return 0.0
    return float(expected @ actual / (np.linalg.norm(expected) * np.linalg.norm(actual)))
