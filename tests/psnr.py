"""Peak signal-to-noise ratio, the measure of every comparison of pictures here."""

import numpy as np


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Return the PSNR of two uint8 pictures in dB; infinite where they are equal, 0 where the sizes differ."""
    if a.shape != b.shape:
        return 0.0
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
