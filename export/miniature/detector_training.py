"""Trains the face detector on the avatar world: under two minutes on one core."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from .detector import FaceDetector
from .detector_loss import detection_loss
from .detector_pictures import draw_batches, draw_pictures
from .random_weights import seeded

_SIDES_PX, _SHARES = (640, 480, 320, 224, 160), (0.4, 0.2, 0.2, 0.1, 0.1)
"""Sides of the square inputs: a small one teaches small faces with many pictures, only a large one the largest."""
_GRADIENT_LIMIT = 5.0


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how: each of ``steps`` sees ``pixels``, so many pictures of one of several sizes."""

    steps: int = 1000
    pictures: int = 2000
    pixels: int = 6 * 640**2
    learning_rate: float = 4e-3
    seed: int = 0


def train_detector(plan: TrainingPlan) -> FaceDetector:
    """Return a detector that finds the world's faces, and nothing where there are none. Shows its progress."""
    pictures = draw_pictures(plan.pictures, plan.seed)
    sides_px = np.random.default_rng(plan.seed).choice(_SIDES_PX, plan.steps, p=_SHARES).tolist()
    batches = draw_batches(pictures, sides_px, plan.pixels, plan.seed)
    with seeded(plan.seed), _one_thread():
        detector = FaceDetector().train()
        optimizer = torch.optim.AdamW(detector.parameters(), plan.learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, plan.steps, pct_start=0.1)
        with tqdm(batches, total=plan.steps, desc="face detector", unit="step") as progress:
            for images, faces in progress:
                loss = detection_loss(detector(images), faces, images.shape[-1])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(detector.parameters(), _GRADIENT_LIMIT)
                optimizer.step()
                schedule.step()
                progress.set_postfix(loss=f"{loss.item():.3f}")
    return detector.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order, whatever the number of cores; threads of a busy machine would also wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
