"""Trains the face detector on the avatar world, in about a minute and a half on two cores."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from .detector import ANCHOR_SIZES_PX, STRIDES, FaceDetector, Level
from .world import Background, Person, Scene, render

CANVASES = ((320, 16), (320, 16), (320, 16), (640, 4))
"""(side in pixels, pictures) of the batches, in turn: small ones teach most, large ones the largest faces."""
_CELL_RADIUS = 0.22
"""A cell stands for a face when its corner lies this close to the face's middle, in sizes of the face."""
_NEAR_FACTOR = 1.5
"""An anchor stands for faces up to so many times larger or smaller than itself."""
_BOX_WEIGHT, _KEYPOINT_WEIGHT = 4.0, 10.0


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how: ``steps`` batches, the sizes of `CANVASES` in turn."""

    steps: int = 1100
    learning_rate: float = 4e-3
    seed: int = 0


def train_detector(plan: TrainingPlan) -> FaceDetector:
    """Return a detector that finds the world's faces, and nothing where there are none. Shows its progress."""
    torch.manual_seed(plan.seed)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))  # one core draws pictures
    detector = FaceDetector().train()
    optimizer = torch.optim.AdamW(detector.parameters(), plan.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, plan.steps, pct_start=0.1)
    pictures = DataLoader(_Pictures(plan), batch_size=None, num_workers=1, prefetch_factor=4)
    with tqdm(pictures, total=plan.steps, desc="face detector", unit="step") as progress:
        for image, faces in progress:
            loss = detection_loss(detector(image), faces, image.shape[-1])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            progress.set_postfix(loss=f"{loss.item():.3f}")
    return detector.eval()


@dataclass(frozen=True)
class Faces:
    """The faces of one picture: ``boxes`` (N, 4) and ``keypoints`` (N, 5, 2), float32 pixels."""

    boxes: torch.Tensor
    keypoints: torch.Tensor


class _Pictures(IterableDataset):
    """Batches of (image (B, 3, H, W), faces of each picture)."""

    def __init__(self, plan: TrainingPlan) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[tuple[torch.Tensor, list[Faces]]]:
        worker = get_worker_info()
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self._plan.seed, worker.id if worker else 0])
        for step in range(self._plan.steps):
            side_px, batch = CANVASES[step % len(CANVASES)]
            images, faces = zip(*(draw_sample(rng, side_px) for _ in range(batch)), strict=True)
            yield torch.stack(images), list(faces)


def draw_sample(rng: np.random.Generator, side_px: int) -> tuple[torch.Tensor, Faces]:
    """Return a picture as the detector meets it, enlarged into the corner of a black square, and its faces."""
    height, width = rng.integers(96, 260, 2)
    scale = side_px / max(height, width) * rng.choice([1.0, rng.uniform(0.4, 1)])
    if rng.random() < 0.25:
        picture, boxes, keypoints = _draw_nobody(rng, height, width), np.zeros((0, 4)), np.zeros((0, 5, 2))
    else:
        drawn = render(_draw_scene(rng), int(height), int(width))
        picture, boxes, keypoints = drawn.image, drawn.face_boxes, drawn.keypoints
    size = (min(round(width * scale), side_px), min(round(height * scale), side_px))
    canvas = np.zeros((side_px, side_px, 3), np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    ratio = np.array([size[0] / width, size[1] / height], np.float32)
    boxes = (boxes.reshape(-1, 2, 2) * ratio).reshape(-1, 4)
    faces = Faces(*(torch.from_numpy(part.astype(np.float32)) for part in (boxes, keypoints * ratio)))
    return _to_input(canvas), faces


def _to_input(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 RGB → (3, H, W) float32, normalised as insightface does it."""
    return (torch.from_numpy(image).permute(2, 0, 1).float() - 127.5) / 128


def _draw_scene(rng: np.random.Generator) -> Scene:
    count = int(rng.choice([1, 2, 3], p=[0.75, 0.17, 0.08]))
    places = (np.arange(count) + rng.uniform(0.3, 0.7, count)) / count
    largest = 0.9 if count == 1 else 0.9 / count
    people = []
    for place in places:
        person, size = Person.random(rng), rng.uniform(0.14, largest)
        pose = replace(
            person.pose,
            centre_x=float(place),
            centre_y=rng.uniform(0.5 * size, max(0.6 * size, 0.75)) if rng.random() < 0.7 else person.pose.centre_y,
            head_size=size,
        )
        people.append(replace(person, pose=pose))
    return Scene(tuple(people), Background.random(rng))


def _draw_nobody(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A picture without a face: an empty place, a body whose head is outside, noise, one colour."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == 1:
        return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    if kind == 2:
        coarse = rng.integers(0, 256, (*rng.integers(2, 12, 2), 3), np.uint8)
        return cv2.resize(coarse, (int(width), int(height)), interpolation=int(rng.choice([0, 1, 2])))
    scene = Scene((), Background.random(rng))
    if kind == 3:
        person = Person.random(rng)
        headless = replace(person.pose, centre_y=-0.6 * person.pose.head_size)
        scene = replace(scene, people=(replace(person, pose=headless),))
    return render(scene, int(height), int(width)).image


def detection_loss(levels: list[Level], faces: list[Faces], side_px: int) -> torch.Tensor:
    """Return the focal loss of the scores plus the smooth L1 losses of boxes and keypoints."""
    scores, positions = torch.zeros(()), torch.zeros(())
    positives = 0
    for index, level in enumerate(levels):
        centres, sizes = _anchors(index, side_px)
        targets = torch.zeros_like(level.logits)
        for row, truth in enumerate(faces):
            anchors, owners = _match(centres, sizes, truth.boxes)
            targets[row, anchors] = 1
            positives += len(anchors)
            positions = positions + _position_loss(level, row, anchors, owners, truth, centres, sizes)
        scores = scores + _focal_loss(level.logits, targets)
    return (scores + positions) / max(positives, 1)


def _anchors(index: int, side_px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return centres (N, 2) and sizes (N) in pixels, in the order of `Level`."""
    stride, cells = STRIDES[index], side_px // STRIDES[index]
    y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    centres = torch.stack([x, y], dim=-1).reshape(-1, 1, 2) * float(stride)
    sizes = torch.tensor(ANCHOR_SIZES_PX[index])
    count = len(centres)
    return centres.expand(count, len(sizes), 2).reshape(-1, 2), sizes.expand(count, len(sizes)).reshape(-1)


def _match(centres: torch.Tensor, sizes: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the anchors that stand for a face, and which of ``boxes`` (N, 4) each stands for."""
    if len(boxes) == 0:
        nothing = torch.zeros(0, dtype=torch.long)
        return nothing, nothing
    extent = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
    middle = (boxes[:, 2:] + boxes[:, :2]) / 2
    distance = torch.cdist(centres, middle) / extent
    fits = (sizes[:, None] / extent).log().abs() < np.log(_NEAR_FACTOR)
    near = distance < torch.maximum(torch.tensor(_CELL_RADIUS), 0.3 * sizes[:, None] / extent * 0.5)
    anchors, _ = torch.nonzero(fits & near, as_tuple=True)
    anchors = anchors.unique()
    return anchors, distance[anchors].argmin(dim=1)


def _position_loss(
    level: Level,
    row: int,
    anchors: torch.Tensor,
    owners: torch.Tensor,
    truth: Faces,
    centres: torch.Tensor,
    sizes: torch.Tensor,
) -> torch.Tensor:
    if len(anchors) == 0:
        return torch.zeros(())
    origin, size = centres[anchors], sizes[anchors, None]
    box = truth.boxes[owners]
    edges = torch.cat([origin - box[:, :2], box[:, 2:] - origin], dim=1) / size
    points = (truth.keypoints[owners] - origin[:, None]).flatten(1) / size
    boxes = F.smooth_l1_loss(level.boxes[row, anchors], edges, beta=0.05, reduction="sum") / 4
    keypoints = F.smooth_l1_loss(level.keypoints[row, anchors], points, beta=0.05, reduction="sum") / 10
    return _BOX_WEIGHT * boxes + _KEYPOINT_WEIGHT * keypoints


def _focal_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum of the focal loss (arXiv:1708.02002), γ = 2; α favours faces, which short training leaves unsure of."""
    probability = logits.sigmoid()
    missed = torch.where(targets > 0, 1 - probability, probability)
    weight = torch.where(targets > 0, 0.6, 0.4) * missed**2
    return 2 * (weight * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")).sum()
