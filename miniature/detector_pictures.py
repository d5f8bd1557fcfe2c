"""The face detector's training pictures: the world, preprocessed as by insightface."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from tqdm import tqdm

from .world import Background, Person, Scene, render

_MIRRORED = [1, 0, 2, 4, 3]


@dataclass(frozen=True)
class Faces:
    """The faces of one picture: ``boxes`` (N, 4) and ``keypoints`` (N, 5, 2), float32 pixels."""

    boxes: np.ndarray
    keypoints: np.ndarray

    def scaled(self, factor: np.ndarray) -> "Faces":
        """Return them scaled by ``factor`` (2), horizontally and vertically."""
        return Faces(self.boxes * np.tile(factor, 2), self.keypoints * factor)

    def mirrored(self, width_px: int) -> "Faces":
        """Return them in the mirrored picture, with left and right swapped."""
        x1, y1, x2, y2 = self.boxes.T
        keypoints = self.keypoints[:, _MIRRORED] * [-1, 1] + [width_px, 0]
        return Faces(np.stack([width_px - x2, y1, width_px - x1, y2], axis=1), keypoints)


@dataclass(frozen=True)
class Picture:
    """``image`` (H, W, 3) uint8 RGB and its faces."""

    image: np.ndarray
    faces: Faces


def draw_pictures(count: int, seed: int) -> list[Picture]:
    """Draw ``count`` pictures of the world, a quarter of them without a face. Shows its progress."""
    rng = np.random.default_rng(seed)
    return [_draw_picture(rng) for _ in tqdm(range(count), desc="pictures of the world", unit="picture")]


def _draw_picture(rng: np.random.Generator) -> Picture:
    height, width = (int(side) for side in rng.integers(112, 289, 2))
    if rng.random() < 0.25:
        return Picture(draw_nobody(rng, height, width), Faces(np.zeros((0, 4)), np.zeros((0, 5, 2))))
    drawn = render(_draw_scene(rng), height, width)
    return Picture(drawn.image, Faces(drawn.face_boxes, drawn.keypoints))


def _draw_scene(rng: np.random.Generator) -> Scene:
    """Draw one to three people side by side, from far away to filling the picture."""
    count = int(rng.choice([1, 2, 3], p=[0.75, 0.17, 0.08]))
    places = (np.arange(count) + rng.uniform(0.3, 0.7, count)) / count
    largest = 0.95 if count == 1 else 0.9 / count
    people = []
    for place in places:
        person, size = Person.random(rng), rng.uniform(0.14, largest)
        height = rng.uniform(0.5 * size, max(0.6 * size, 0.75)) if rng.random() < 0.5 else person.pose.centre_y
        pose = replace(person.pose, centre_x=float(place), centre_y=height, head_size=size)
        people.append(replace(person, pose=pose))
    return Scene(tuple(people), Background.random(rng))


def draw_nobody(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a picture without a face: noise, one colour, blots, a headless body, an empty place."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == 1:
        return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    if kind == 2:
        coarse = rng.integers(0, 256, (*rng.integers(2, 12, 2), 3), np.uint8)
        return cv2.resize(coarse, (width, height), interpolation=int(rng.choice([0, 1, 2])))
    scene = Scene((), Background.random(rng))
    if kind == 3:
        person = Person.random(rng)
        headless = replace(person.pose, centre_y=-0.6 * person.pose.head_size)
        scene = replace(scene, people=(replace(person, pose=headless),))
    return render(scene, height, width).image


def place_batch(
    rng: np.random.Generator, pictures: list[Picture], side_px: int, count: int
) -> tuple[torch.Tensor, list[Faces]]:
    """Return ``count`` of the pictures (B, 3, S, S) uint8, preprocessed as by insightface, and their faces."""
    chosen = rng.integers(len(pictures), size=count)
    images, faces = zip(*(_place(rng, pictures[index], side_px) for index in chosen), strict=True)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), list(faces)


def _place(rng: np.random.Generator, picture: Picture, side_px: int) -> tuple[np.ndarray, Faces]:
    """Enlarge a picture into the upper left of a black square, as insightface does, half of them smaller."""
    image, faces = picture.image, picture.faces
    if rng.random() < 0.5:
        image, faces = np.ascontiguousarray(image[:, ::-1]), faces.mirrored(image.shape[1])
    height, width = image.shape[:2]
    scale = side_px / max(height, width) * (1.0 if rng.random() < 0.5 else rng.uniform(0.35, 1))
    size = np.minimum(np.round(np.array([width, height]) * scale), side_px).astype(int)
    canvas = np.zeros((side_px, side_px, 3), np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(_relit(rng, image), size.tolist(), interpolation=cv2.INTER_LINEAR)
    return canvas, faces.scaled(size / [width, height])


def _relit(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Change brightness and contrast a little; blur some pictures and desaturate some."""
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.008 * image.shape[0]))
    if rng.random() < 0.15:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.convertScaleAbs(image, alpha=rng.uniform(0.75, 1.2), beta=rng.uniform(-25, 25))
