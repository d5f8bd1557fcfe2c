"""Face detection at one scale: insightface's SCRFD on the engine ``face_detector``."""

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
"""The factors by which a picture is shrunk for a network with one fixed input; other networks get a smaller input."""


class FaceDetector:
    """SCRFD at several scales; ``sides`` lists its square inputs, the published one first.

    A network with one fixed input gets smaller pictures in a corner of it. SCRFD pads every picture that is not
    square with black, so this makes no difference.
    """

    def __init__(self, call: Call, sides: Sequence[int], threshold: float) -> None:
        self._scrfd = SCRFD(session=EngineSession(call))
        self._scrfd.prepare(ctx_id=0, det_thresh=threshold)
        self._is_fixed = len(sides) == 1
        self._input_side = sides[0]
        self.sides = (sides[0], *(sides[0] // times for times in SHRUNK)) if self._is_fixed else tuple(sides)

    def detect(self, picture: np.ndarray, side: int) -> Faces:
        """Return every face in ``picture``, (H, W, 3) uint8 BGR, scaled to a square of ``side`` pixels."""
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
        """Non-maximum suppression with SCRFD's own threshold."""
        return faces.pick(np.array(self._scrfd.nms(faces.boxes), int)) if len(faces) else faces


def _fits(picture: np.ndarray, side: int) -> bool:
    """Whether the shorter side of a very thin picture keeps at least one pixel when SCRFD scales it."""
    height, width = picture.shape[:2]
    return side * min(height, width) >= max(height, width)


class TensorInfo(NamedTuple):
    """The fields of ONNX Runtime's tensor description that SCRFD reads."""

    name: str
    shape: list[int | str]


class EngineSession:
    """The engine behind the few methods of an ONNX Runtime session that SCRFD uses."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def get_inputs(self) -> list[TensorInfo]:
        """Describe the single input, whose size may differ at each call."""
        return [TensorInfo("image", [1, 3, "height", "width"])]

    def get_outputs(self) -> list[TensorInfo]:
        """Describe the nine outputs in SCRFD's order; rank 3 tells it that they have a batch dimension."""
        return [TensorInfo(name, [1, "anchors", "values"]) for name in OUTPUTS]

    def run(self, output_names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Call the engine and return its outputs in the order of ``output_names``."""
        outputs = self._call(ENGINE, inputs, output_names)
        return [outputs[name] for name in output_names]
