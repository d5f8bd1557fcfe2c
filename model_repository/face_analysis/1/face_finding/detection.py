"""Where the faces are: insightface's SCRFD over the engine ``face_detector``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from insightface.model_zoo.scrfd import SCRFD
from insta_depth_shared.bls import Call

ENGINE = "face_detector"
OUTPUTS = tuple(f"{part}_{stride}" for part in ("score", "bbox", "kps") for stride in (8, 16, 32))


class FaceDetector:
    """SCRFD, asked again in other ways where it sees nothing at first.

    It misses faces that are too large for its input. Smaller inputs (``sides`` in turn) make them smaller, and
    a black border around the picture, which SCRFD puts beside every picture anyway, gives them a surrounding.
    """

    def __init__(self, call: Call, sides: Sequence[int], threshold: float) -> None:
        self._scrfd = SCRFD(session=EngineSession(call))
        self._scrfd.prepare(ctx_id=0, det_thresh=threshold)
        self._sides = tuple(sides)

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return every face's box and keypoints in ``image``, (H, W, 3) uint8 RGB.

        Boxes: (N, 5) float32, x1, y1, x2, y2 in pixels and the score; keypoints: (N, 5, 2) float32, x, y.
        """
        for picture, border, side in self._attempts(image):
            boxes, keypoints = self._scrfd.detect(picture, input_size=(side, side))
            if len(boxes):
                offset = np.array([border] * 4 + [0], np.float32)
                return boxes - offset, keypoints - np.float32(border)
        return np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)

    def _attempts(self, image: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
        """Yield BGR pictures with the width of their border and the detector's input side."""
        picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        for side in self._sides:
            if _fits(picture, side):
                yield picture, 0, side
        border = max(picture.shape) // 2
        bordered = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_CONSTANT)
        for side in self._sides:
            yield bordered, border, side


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
