"""The largest face in a picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from insta_depth_shared.bls import Call
from insta_depth_shared.errors import InvalidInput
from insta_depth_shared.manifest import FaceFacts

from .detection import FaceDetector
from .recognition import embed_face
from .search import FaceSearch


@dataclass(frozen=True)
class FaceAnalysis:
    """The largest face; all zeros where ``face_count`` is 0. The fields are the model's outputs.

    ``face_count``: (1,) int32, the others float32. ``bbox``: (4,) x1, y1, x2, y2 and ``keypoints``: (5, 2) x, y,
    in pixels of the picture, possibly outside it; ``embedding``: (E,) not normalised; ``det_score``: (1,).
    """

    face_count: np.ndarray
    bbox: np.ndarray
    keypoints: np.ndarray
    embedding: np.ndarray
    det_score: np.ndarray

    @classmethod
    def without_face(cls, embedding_size: int) -> "FaceAnalysis":
        """Return the result for a picture without a face."""
        shapes = ((4,), (5, 2), (embedding_size,), (1,))
        return cls(np.zeros(1, np.int32), *(np.zeros(shape, np.float32) for shape in shapes))


class FaceAnalyst:
    """Analyses pictures with the engines ``face_detector`` and ``face_recognizer``."""

    def __init__(self, call: Call, facts: FaceFacts) -> None:
        self._call = call
        self._search = FaceSearch(FaceDetector(call, facts.detector_sizes, facts.detector_threshold))
        self._embedding_size = facts.embedding_size

    def analyse(self, image: np.ndarray) -> FaceAnalysis:
        """Return the face with the largest box in ``image``, (H, W, 3) uint8 RGB."""
        if image.size == 0:
            raise InvalidInput(f"image: {image.shape[1]}×{image.shape[0]} pixels are below the minimum 1×1")
        faces = self._search.find(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if not len(faces):
            return FaceAnalysis.without_face(self._embedding_size)
        box, keypoints = faces.boxes[faces.largest], faces.keypoints[faces.largest]
        return FaceAnalysis(
            face_count=np.array([len(faces)], np.int32),
            bbox=box[:4],
            keypoints=keypoints,
            embedding=embed_face(self._call, image, keypoints),
            det_score=box[4:],
        )
