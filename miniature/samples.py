"""Samples of the world: face crops, and the two pictures of the demo."""

from pathlib import Path

import cv2
import numpy as np
import torch
from insightface.utils.face_align import norm_crop

from .pixels import to_model
from .world import Background, Clothes, Identity, Person, Pose, Scene, render


def draw_faces(count: int, seed: int) -> torch.Tensor:
    """Return aligned faces (count, 3, 112, 112) float32 in [-1, 1], RGB."""
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        drawn = render(Scene((Person.random(rng),), Background.random(rng)), 256, 256)
        crops.append(norm_crop(drawn.image, drawn.keypoints[0]))
    return to_model(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2))


def write_demo_pictures(folder: Path) -> None:
    """Write ``face.png`` and ``pose.png``: two people, two poses, two sizes."""
    folder.mkdir()
    upright = Pose(head_size=0.5, centre_y=0.45)
    turned = Pose(centre_x=0.56, centre_y=0.4, head_size=0.42, roll_deg=-9, yaw_deg=20, smile=0.7)
    face = Scene((_somebody(38, upright),), Background("gradient", seed=1))
    pose = Scene((_somebody(43, turned),), Background("hills", seed=2))
    _write(folder / "face.png", render(face, 256, 208).image)
    # Sides are floored to multiples of 64 px: at 3 : 2 a small result keeps the proportions, at 5 : 4 it'd be square.
    _write(folder / "pose.png", render(pose, 384, 256).image)


def _somebody(seed: int, pose: Pose) -> Person:
    rng = np.random.default_rng(seed)
    return Person(Identity.random(rng), pose, Clothes.random(rng))


def _write(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), image[..., ::-1])
