"""A detector with SCRFD's interface and SCRFD's weaknesses, as measured on photographs, for drawn faces.

It misses what is too large or too small for its input, is surer of a face the more upright it is, and puts upright
keypoints on every face that leans by more than 60 degrees.
"""

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from insta_depth_shared.bls import Arrays

SKIN, MOUTH = (255, 0, 0), (255, 0, 255)
SEEN_PX = (14, 400)
TRUSTED_DEG = 60
UPRIGHT = np.array([[-0.3, -0.3], [0.3, -0.3], [0.0, 0.0], [-0.25, 0.4], [0.25, 0.4]])
"""The keypoints of an upright face, in widths of the face from its middle."""


def draw_face(picture: np.ndarray, centre: tuple[float, float], width: float, roll_deg: float = 0.0) -> np.ndarray:
    """Draw a square face into ``picture``, (H, W, 3) uint8 RGB, and return its keypoints, (5, 2)."""
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    mouth = np.array([[-0.4, 0.25], [0.4, 0.25], [0.4, 0.45], [-0.4, 0.45]])
    for shape, colour in ((square, SKIN), (mouth, MOUTH)):
        corners = _placed(shape, np.array(centre), width, roll_deg)
        cv2.fillPoly(picture, [np.round(corners * 16).astype(np.int32)], colour, shift=4)
    return _placed(UPRIGHT, np.array(centre), width, roll_deg)


def _placed(points: np.ndarray, centre: np.ndarray, width: float, roll_deg: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    return points * width @ np.array([[cos, sin], [-sin, cos]]) + centre


class ScriptedEngines:
    """Answers for ``face_detector``, and with the crop's mean colours in a 4×4 grid for ``face_recognizer``.

    ``sides``: the detector's inputs so far.
    """

    def __init__(self) -> None:
        self.sides: list[int] = []

    def __call__(self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        image = np.round(inputs["image"][0].transpose(1, 2, 0) * 128 + 127.5).clip(0, 255).astype(np.uint8)
        if model == "face_recognizer":
            embedding = np.zeros((1, 512), np.float32)
            embedding[0, :48] = cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).ravel() - 127.5
            return {"embedding": embedding}
        side = image.shape[0]
        self.sides.append(side)
        tensors = {
            f"{part}_{stride}": np.zeros((1, (side // stride) ** 2 * 2, width), np.float32)
            for part, width in {"score": 1, "bbox": 4, "kps": 10}.items()
            for stride in (8, 16, 32)
        }
        for box, keypoints, score in _seen(image):
            _write(tensors, side, box, keypoints, score)
        return tensors


def _seen(image: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    is_face = ((image[..., 0] > 150) & (image[..., 1] < 90)).astype(np.uint8)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(is_face)
    for face in range(1, count):
        left, top, width, height, _ = stats[face]
        inside = labels == face
        blue = np.where(inside & (image[..., 2] > 30), image[..., 2], 0).astype(float)
        if min(width, height) < SEEN_PX[0] or max(width, height) > SEEN_PX[1] or not blue.any():
            continue
        down = (
            np.array([(blue.sum(axis) * np.arange(len(image))).sum() / blue.sum() for axis in (0, 1)]) - centres[face]
        )
        roll = np.degrees(np.arctan2(-down[0], down[1]))
        believed, side = (roll if abs(roll) <= TRUSTED_DEG else 0.0), np.sqrt(inside.sum())
        keypoints = _placed(UPRIGHT, centres[face], side, believed)
        yield np.array([left, top, left + width, top + height]), keypoints, 0.7 + 0.2 * np.cos(np.radians(roll))


def _write(tensors: Arrays, side: int, box: np.ndarray, keypoints: np.ndarray, score: float) -> None:
    """Put a face where SCRFD's decoding reads it: at the anchor of stride 8 next to its middle."""
    column, row = ((box[:2] + box[2:]) / 16).astype(int).clip(0, side // 8 - 1)
    anchor, point = (row * (side // 8) + column) * 2, np.array([column, row]) * 8
    tensors["score_8"][0, anchor] = score
    tensors["bbox_8"][0, anchor] = np.concatenate([point - box[:2], box[2:] - point]) / 8
    tensors["kps_8"][0, anchor] = (keypoints - point).ravel() / 8
