"""Where the faces are at one scale: insightface's SCRFD over the engine ``face_detector``."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from insightface.model_zoo.scrfd import SCRFD

from insta_depth_shared.bls import Call

from .faces import Faces

ENGINE = "face_detector"
OUTPUTS = tuple(f"{part}_{stride}" for part in ("score", "bbox", "kps") for stride in (8, 16, 32))
SHRUNK = (2, 4)
"""How many times smaller a network of one fixed input sees a picture where others would get a smaller input."""


class FaceDetector:
    """SCRFD at a scale of choice; ``sides`` lists its square inputs, the first of which is the published one.

    A network that has one fixed input sees smaller pictures in a corner of it, which is the same to SCRFD: it puts
    black beside every picture that is not square.
    """

    def __init__(self, call: Call, sides: Sequence[int], threshold: float) -> None:
        self._scrfd = SCRFD(session=EngineSession(call))
        self._scrfd.prepare(ctx_id=0, det_thresh=threshold)
        self._is_fixed = len(sides) == 1
        self._input_side = sides[0]
        self.sides = (sides[0], *(sides[0] // times for times in SHRUNK)) if self._is_fixed else tuple(sides)

    def detect(self, picture: np.ndarray, side: int) -> Faces:
        """Return every face of ``picture``, (H, W, 3) uint8 BGR, seen in a square of ``side`` pixels."""
        if not _fits(picture, side):
            return Faces.none()
        if not self._is_fixed or side == self._input_side:
            return Faces(*self._scrfd.detect(picture, input_size=(side, side)))
        scale = side / max(picture.shape)
        height, width = (max(int(length * scale), 1) for length in picture.shape[:2])
        canvas = np.zeros((self._input_side, self._input_side, 3), np.uint8)
        canvas[:height, :width] = cv2.resize(picture, (width, height))
        return self.detect(canvas, self._input_side).scaled(1 / scale)

    def without_doubles(self, faces: Faces) -> Faces:
        """Return the best of those that overlap, by SCRFD's own measure."""
        return faces.pick(np.array(self._scrfd.nms(faces.boxes), int)) if len(faces) else faces


def _fits(picture: np.ndarray, side: int) -> bool:
    """Whether SCRFD's scaling leaves the shorter side of a very thin picture at least one pixel."""
    height, width = picture.shape[:2]
    return side * min(height, width) >= max(height, width)


class TensorInfo(NamedTuple):
    """What SCRFD asks an ONNX Runtime session of each tensor."""

    name: str
    shape: list[int | str]


class EngineSession:
    """The engine with the few methods of an ONNX Runtime session that SCRFD uses."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def get_inputs(self) -> list[TensorInfo]:
        """Describe the one input; its size is ours to choose at each call."""
        return [TensorInfo("image", [1, 3, "height", "width"])]

    def get_outputs(self) -> list[TensorInfo]:
        """Describe the nine outputs in SCRFD's order; rank 3 tells it that they have a batch dimension."""
        return [TensorInfo(name, [1, "anchors", "values"]) for name in OUTPUTS]

    def run(self, output_names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Call the engine and return its outputs in the order of ``output_names``."""
        outputs = self._call(ENGINE, inputs, output_names)
        return [outputs[name] for name in output_names]
