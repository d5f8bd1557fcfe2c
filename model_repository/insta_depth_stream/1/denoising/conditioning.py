"""What a request's pictures become before the first step: keypoints, depth, region mask, sizes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
"""RGB of the five points in SCRFD's order: left eye, right eye, nose, mouth's left and right corner."""
NOSE = 2
LIMB_ENDS = (0, 1, 3, 4)
LIMB_HALF_WIDTH_PX = 4
POINT_RADIUS_PX = 10
LIMB_BRIGHTNESS = 0.6


def draw_face_keypoints(keypoints: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """Draw ``keypoints``, (5, 2) x, y in pixels, as IdentityNet learnt to read them: (H, W, 3) uint8 RGB."""
    canvas = np.zeros((height_px, width_px, 3))
    for index in LIMB_ENDS:
        cv2.fillConvexPoly(canvas, _limb(keypoints[index], keypoints[NOSE]), COLOURS[index])
    drawing = (canvas * LIMB_BRIGHTNESS).astype(np.uint8)
    for (x, y), colour in zip(keypoints, COLOURS, strict=True):
        cv2.circle(drawing, (int(x), int(y)), POINT_RADIUS_PX, colour, thickness=-1)
    return drawing


def _limb(point: np.ndarray, nose: np.ndarray) -> np.ndarray:
    x, y = point - nose
    centre_x, centre_y = (point + nose) / 2
    half_axes = (int((x**2 + y**2) ** 0.5 / 2), LIMB_HALF_WIDTH_PX)
    angle = int(math.degrees(math.atan2(y, x)))
    return np.asarray(cv2.ellipse2Poly((int(centre_x), int(centre_y)), half_axes, angle, 0, 360, 1))


def face_region_mask(bbox: np.ndarray | None, height_px: int, width_px: int) -> np.ndarray:
    """Return (1, H, W) float32: ones inside ``bbox`` (x1, y1, x2, y2 in pixels), or everywhere where it is None."""
    if bbox is None:
        return np.ones((1, height_px, width_px), np.float32)
    left, top, right, bottom = (max(int(edge), 0) for edge in bbox)
    mask = np.zeros((1, height_px, width_px), np.float32)
    mask[:, top:bottom, left:right] = 1
    return mask


def size_ids(height_px: int, width_px: int) -> np.ndarray:
    """SDXL's time_ids, (6,) float32: original size, crop's corner and target size, each (height, width)."""
    return np.array([height_px, width_px, 0, 0, height_px, width_px], np.float32)


NEAREST_M, FARTHEST_M = 0.1, 250.0
"""Distances outside are taken for these, as Depth Pro's own command line does (apple/ml-depth-pro)."""


def depth_picture(
    predicted_depth: torch.Tensor, height_px: int, width_px: int, is_distance: bool = False
) -> torch.Tensor:
    """Return (3, H, W) float32 in [0, 1], near = 1, from the estimator's (1, h, w) of any float type.

    ``is_distance``: the prediction is in metres, else it is inverse depth. ControlNet-Depth learnt from MiDaS's
    inverse depth, up to scale and shift, so that distances are inverted rather than subtracted.
    A flat prediction, which has no nearest point, gives zeros. The result lies where the prediction does.
    """
    depth = predicted_depth.float()
    if is_distance:
        depth = 1 / depth.clamp(NEAREST_M, FARTHEST_M)
    # Asked before resizing, which adds rounding noise, and without waiting for the device to answer.
    is_flat = depth.amin() == depth.amax()
    size = (height_px, width_px)
    resized = torch.nn.functional.interpolate(depth[None], size, mode="bicubic", align_corners=False)[0, 0]
    low, high = resized.amin(), resized.amax()
    near = torch.where(is_flat, 0.0, (resized - low) / (high - low))
    return near.expand(3, *size)


class DepthProcessor:
    """Prepares a picture for the depth estimator as its checkpoint's ``preprocessor_config.json`` says."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor  # two seconds that tests without a processor need not wait

        self._processor = AutoImageProcessor.from_pretrained(folder, backend="pil")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return pixel_values, (1, 3, h, w) float32, of ``image``, (H, W, 3) uint8 RGB."""
        return np.asarray(self._processor(images=image, return_tensors="np")["pixel_values"])


@dataclass(frozen=True)
class Conditioning:
    """Everything that a picture is made from but its noise; arrays come from the host, tensors lie on the device.

    The first three have a row for [negative, positive], or for [positive] alone; the rest is the same for both.
    """

    encoder_hidden_states: np.ndarray
    """(R, T, X)"""
    text_embeds: np.ndarray
    """(R, P)"""
    prompt_image_emb: torch.Tensor
    """(R, 16, X)"""
    face_keypoints: np.ndarray
    """(3, H, W) in [0, 1], RGB"""
    depth: torch.Tensor
    """(3, H, W) in [0, 1], near = 1"""
    region_mask: np.ndarray
    """(1, H, W), 0 or 1"""
    identitynet_scale: float
    depth_scale: float
    ip_adapter_scale: float

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the picture to come."""
        height, width = self.depth.shape[1:]
        return height, width

    def rows(self, dtypes: Mapping[str, str], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the inputs of ``denoise_step`` that stay the same at every step, (R, …), on ``device``.

        ``dtypes``: numpy's name of the type of each input that it takes; one that it does not take is left out.
        """
        by_row = {name: getattr(self, name) for name in ("encoder_hidden_states", "text_embeds", "prompt_image_emb")}
        alike = {
            "face_keypoints": self.face_keypoints,
            "depth": self.depth,
            "region_mask": self.region_mask,
            "time_ids": size_ids(*self.size_px),
            "identitynet_scale": np.array([self.identitynet_scale]),
            "depth_scale": np.array([self.depth_scale]),
            "ip_adapter_scale": np.array([self.ip_adapter_scale]),
        }
        moved = {
            name: torch.as_tensor(value).to(device, torch_dtype(dtypes[name]))
            for name, value in (by_row | alike).items()
            if name in dtypes
        }
        row_count = len(self.text_embeds)
        return {
            name: value if name in by_row else value.expand(row_count, *value.shape) for name, value in moved.items()
        }


def torch_dtype(numpy_name: str) -> torch.dtype:
    """Return torch's type of that name; ``numpy_name``: ``float16`` or ``float32``."""
    return getattr(torch, numpy_name)
