"""Which way up a face is."""

import cv2
import numpy as np

from .detection import FaceDetector
from .faces import Faces

MAX_ROLL_DEG = 55.0
"""A face that leans further is detected better after a quarter turn; its keypoints are unreliable."""
SURROUNDINGS = 2.0
"""Side of the crop around a face, in longer sides of its box."""
SURE_SCORE = 0.7
"""A face with a lower score must also be found clearly in one of the four turns: photographs gave false positives."""
LEAD = 0.05
"""Margin by which that turn's score must exceed the opposite turn's; in clear photographs it is at least 0.18."""
MAX_DISAGREEMENT_DEG = 75.0
"""Between the lean of a face's own keypoints and the turn in which it is upright."""


def quarter_turns_to_upright(detector: FaceDetector, picture: np.ndarray, face: Faces) -> int | None:
    """Return the quarter turns anticlockwise after which ``face``, one of ``picture``'s, is upright, or None.

    SCRFD also finds faces that are upside down, with upright keypoints on them, but scores upright ones higher. So
    it gets the face in all four turns at once, in the quarters of one input, and the highest score among those that
    look upright wins. None: the face looks upright in no turn. ``picture``: (H, W, 3) uint8 BGR.
    """
    side = detector.sides[1]
    crop = cv2.resize(_surroundings(picture, face.boxes[0, :4]), (side // 2,) * 2, interpolation=cv2.INTER_AREA)
    views = [np.rot90(crop, turns) for turns in range(4)]
    mosaic = np.concatenate([np.concatenate(views[:2], axis=1), np.concatenate(views[2:], axis=1)])
    scores = _upright_scores(detector.detect(mosaic, side), side)
    best = int(np.argmax(scores))
    is_sure = face.boxes[0, 4] >= SURE_SCORE
    if not scores.any():
        return 0 if is_sure and _looks_upright(face)[0] else None
    return best if is_sure or scores[best] - scores[(best + 2) % 4] >= LEAD else None


def keypoints_agree(face: Faces, quarter_turns: int) -> bool:
    """Whether the keypoints of ``face`` lean like those of a face that ``quarter_turns`` put upright."""
    disagreement = (face.rolls_deg()[0] - 90 * quarter_turns + 180) % 360 - 180
    return bool(abs(disagreement) <= MAX_DISAGREEMENT_DEG)


def _looks_upright(faces: Faces) -> np.ndarray:
    return np.abs(faces.rolls_deg()) <= MAX_ROLL_DEG


def _upright_scores(seen: Faces, side: int) -> np.ndarray:
    """Return (4,) the best score of an upright face in the middle of each quarter, 0 if there is none."""
    centres = (seen.boxes[:, :2] + seen.boxes[:, 2:4]) / 2
    quarters = (centres // (side / 2)).clip(0, 1).astype(int) @ np.array([1, 2])
    off_centre = np.abs(centres % (side / 2) - side / 4).max(axis=1)
    counts = _looks_upright(seen) & (off_centre < side / 8)
    scores = np.zeros(4, np.float32)
    np.maximum.at(scores, quarters[counts], seen.boxes[counts, 4])
    return scores


def _surroundings(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the square around ``box``, black outside the picture."""
    side = max(int(SURROUNDINGS * max(box[2:] - box[:2])), 2)
    left, top = ((box[:2] + box[2:] - side) / 2).astype(int)
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    square = np.zeros((side, side, 3), np.uint8)
    if x1 < x2 and y1 < y2:
        square[y1 - top : y2 - top, x1 - left : x2 - left] = picture[y1:y2, x1:x2]
    return square
