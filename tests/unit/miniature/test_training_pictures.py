from dataclasses import replace

import numpy as np
import pytest

from miniature.training import pictures
from miniature.training.pictures import SIZES_PX, TrainingPictures, draw_all, load, load_all
from miniature.world import Identity, render

NAMES = ("image", "twin", "depth", "keypoints", "box", "person", "plain", "bent", "prompt")


@pytest.fixture(scope="module")
def training_pictures(tmp_path_factory):
    made = TrainingPictures(tmp_path_factory.mktemp("pictures"), seed=5, parts=3, people=3, each=4)
    draw_all(made)
    return made


def test_a_part_holds_its_people_in_several_pictures(training_pictures):
    for index, part in enumerate(load_all(training_pictures, *NAMES)):
        assert part["image"].shape == (12, *SIZES_PX[index], 3)
        assert part["twin"].shape == part["image"].shape
        assert part["depth"].shape == part["image"].shape[:3]
        assert part["person"].tolist() == [person for person in range(3 * index, 3 * index + 3) for _ in range(4)]
        assert all(prompt for prompt in part["prompt"].flat)


def test_the_same_seed_draws_the_same_and_only_what_is_missing(training_pictures, tmp_path):
    again = replace(training_pictures, folder=tmp_path)
    draw_all(replace(again, parts=1))
    kept = again.path(0).stat().st_mtime_ns
    draw_all(again)
    assert again.path(0).stat().st_mtime_ns == kept
    for part in range(training_pictures.parts):
        first, second = load(training_pictures, part, *NAMES), load(again, part, *NAMES)
        assert all(np.array_equal(first[name], second[name]) for name in NAMES)


def test_the_keypoints_lie_in_the_face(training_pictures):
    for part in load_all(training_pictures, "keypoints", "box"):
        middle = part["keypoints"].mean(1)
        assert (middle > part["box"][:, :2]).all()
        assert (middle < part["box"][:, 2:]).all()


def test_the_twin_is_somebody_else(training_pictures):
    part = load(training_pictures, 0, "image", "twin", "depth")
    person = part["depth"] > 150
    for image, twin, mask in zip(part["image"], part["twin"], person, strict=True):
        assert np.abs(image.astype(int) - twin)[mask].mean() > 8


def test_the_twin_has_the_pose_of_the_picture(training_pictures, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "render", lambda scene, *size_px: drawn.append(scene) or render(scene, *size_px))
    pictures._draw(np.random.default_rng(0), Identity.random(np.random.default_rng(1)), (64, 64), 0.0)
    image, twin = (scene.people[0] for scene in drawn)
    assert image.pose == twin.pose
    assert image.identity != twin.identity


def test_a_share_of_the_people_stands_far_away(tmp_path):
    sizes = ((96, 96), (96, 64))
    drawn = TrainingPictures(tmp_path, seed=5, parts=2, people=8, each=4, sizes_px=sizes, small=0.5)
    draw_all(drawn)
    parts = list(load_all(drawn, *NAMES))
    assert [part["image"].shape[1:3] for part in parts] == [*sizes]
    heights = np.concatenate([part["box"][:, 3] - part["box"][:, 1] for part in parts]) / 96
    is_small = heights < 0.2
    assert 0.3 < is_small.mean() < 0.7
    assert heights.min() < 0.1
    # A face of few pixels does not say who somebody is.
    assert not np.concatenate([part["plain"] for part in parts])[is_small].any()
