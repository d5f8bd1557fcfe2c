import numpy as np
import pytest
import torch

from miniature.detector import ANCHOR_SIZES_PX, STRIDES, Level, PublishedInterface
from miniature.detector_loss import Anchors, detection_loss
from miniature.detector_pictures import Faces, draw_pictures, place_batch

SIDE_PX = 320
FACE = Faces(np.array([[96.0, 96.0, 224.0, 224.0]]), np.tile([[150.0, 140.0]], (5, 1))[None])


def _perfect_answer(faces: Faces) -> list[Level]:
    """What a detector would say that knows the truth: every anchor points at the one face."""
    grid, levels, start = Anchors.of(SIDE_PX), [], 0
    near, _ = grid.match(faces.boxes)
    for stride in STRIDES:
        count = 2 * (SIDE_PX // stride) ** 2
        part = slice(start, start + count)
        centres, sizes = grid.centres[part], grid.sizes[part, None]
        logits = np.full(len(grid.sizes), -12.0)
        logits[near] = 12
        box = np.concatenate([centres - faces.boxes[0, :2], faces.boxes[0, 2:] - centres], axis=1) / sizes
        points = (faces.keypoints[0] - centres[:, None]).reshape(count, 10) / sizes
        parts = (logits[part], box, points)
        levels.append(Level(*(torch.from_numpy(each.astype(np.float32))[None] for each in parts)))
        start += count
    return levels


def test_the_truth_has_no_loss_and_a_shift_has():
    levels = _perfect_answer(FACE)
    assert detection_loss(levels, [FACE], SIDE_PX) < 1e-3
    shifted = [Level(level.logits, level.boxes, level.keypoints + 0.1) for level in levels]
    assert detection_loss(shifted, [FACE], SIDE_PX) > 0.05


def test_the_published_interface_is_what_insightface_decodes(tmp_path):
    from insightface.model_zoo.scrfd import distance2bbox, distance2kps

    outputs = PublishedInterface(lambda image: _perfect_answer(FACE))(torch.zeros(1, 3, SIDE_PX, SIDE_PX))
    grid, start = Anchors.of(SIDE_PX), 0
    for stride, box, points in zip(STRIDES, outputs[3:6], outputs[6:], strict=True):
        centres = grid.centres[start : start + len(box)]
        boxes = distance2bbox(centres, box.numpy() * stride)
        np.testing.assert_allclose(boxes, np.tile(FACE.boxes, (len(box), 1)), atol=0.01)
        decoded = distance2kps(centres, points.numpy() * stride).reshape(-1, 5, 2)
        np.testing.assert_allclose(decoded, np.tile(FACE.keypoints, (len(box), 1, 1)), atol=0.01)
        start += len(box)


@pytest.mark.parametrize("size", [20, 50, 120, 300])
def test_a_face_belongs_to_anchors_of_its_size(size):
    grid = Anchors.of(640)
    anchors, owners = grid.match(np.array([[100.0, 100.0, 100.0 + size, 100.0 + size]]))
    assert len(anchors)
    assert (owners == 0).all()
    assert set(grid.sizes[anchors]) <= {each for pair in ANCHOR_SIZES_PX for each in pair if 0.5 < each / size < 2}


def test_a_mirrored_face_keeps_its_viewers_left_on_the_left():
    keypoints = np.array([[[30.0, 40], [60, 40], [45, 55], [35, 70], [58, 70]]])
    mirrored = Faces(np.array([[20.0, 10, 70, 80]]), keypoints).mirrored(100)
    assert mirrored.boxes.tolist() == [[30, 10, 80, 80]]
    assert mirrored.keypoints[0].tolist() == [[40, 40], [70, 40], [55, 55], [42, 70], [65, 70]]


def test_batches_are_the_same_for_the_same_seed():
    pictures = draw_pictures(6, seed=1)
    first, second = (place_batch(np.random.default_rng(2), pictures, 160, count=4) for _ in range(2))
    assert first[0].shape == (4, 3, 160, 160)
    assert torch.equal(first[0], second[0])
