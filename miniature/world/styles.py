"""Styles and flaws: changes to a drawn picture's pixels."""

from collections.abc import Callable

import cv2
import numpy as np

from .scene import Flaw, Style

_PAPER = 246


def apply_style(image: np.ndarray, style: Style) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB in a style."""
    return _STYLES[style](image) if style in _STYLES else image


def apply_flaw(image: np.ndarray, flaw: Flaw | None, seed: int) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB with a flaw, drawn from ``seed``."""
    return _FLAWS[flaw](image, np.random.default_rng(seed)) if flaw else image


def _black_and_white(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _pencil(image: np.ndarray) -> np.ndarray:
    """Divide by the blurred picture: edges stay dark, areas become white."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) + 8
    lines = np.clip(grey / cv2.GaussianBlur(grey, (0, 0), image.shape[0] / 48), 0, 1)
    return cv2.cvtColor(
        (_PAPER * (0.25 + 0.75 * lines**2) * (0.8 + grey / 1300)).clip(0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB
    )


def _oil(image: np.ndarray) -> np.ndarray:
    """Median filter, few tones, warm tint."""
    size = 2 * (image.shape[0] // 64) + 1
    daubs = cv2.medianBlur(cv2.medianBlur(image, size), size)
    tones = (daubs // 28) * 28 + 14
    return cv2.addWeighted(tones, 0.85, np.full_like(image, (150, 104, 40)), 0.15, 0)


def _pixels(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width * 32 // height), 32), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _low_quality(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise, and washed-out colours."""
    height, width = image.shape[:2]
    blurred = cv2.GaussianBlur(image, (0, 0), height * rng.uniform(0.012, 0.028)).astype(np.float32)
    coarse = rng.normal(0, 13, (64, 64, 1)).astype(np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)[..., None]
    return (0.7 * blurred + 0.3 * 128 + noise).clip(0, 255).astype(np.uint8)


def _bad_anatomy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bend the picture by a coarse random field."""
    height, width = image.shape[:2]
    field = rng.normal(0, 0.045 * height, (2, 5, 5)).astype(np.float32)
    across, down = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in field)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(image, x + across, y + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


_STYLES: dict[Style, Callable[[np.ndarray], np.ndarray]] = {
    "black and white photo": _black_and_white,
    "pencil sketch": _pencil,
    "oil painting": _oil,
    "pixel art": _pixels,
}
_FLAWS: dict[Flaw, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "low quality": _low_quality,
    "bad anatomy": _bad_anatomy,
}
