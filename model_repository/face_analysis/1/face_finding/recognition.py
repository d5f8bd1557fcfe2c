"""Face embeddings: the engine ``face_recognizer`` on an upright crop."""

import cv2
import numpy as np
from insightface.utils.face_align import norm_crop

from insta_depth_shared.bls import Call

ENGINE = "face_recognizer"
CROP_PX = 112
_MIDDLE_GREY = 127.5


def embed_face(call: Call, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Return the (512,) float32 embedding, not normalised, of the face at ``keypoints``, (5, 2), in ``image``.

    ``image``: (H, W, 3) uint8 RGB.
    """
    crop = norm_crop(image, keypoints, CROP_PX)
    pixels = cv2.dnn.blobFromImage(crop, 1 / _MIDDLE_GREY, (CROP_PX, CROP_PX), (_MIDDLE_GREY,) * 3)
    return call(ENGINE, {"image": pixels}, ["embedding"])["embedding"][0]
