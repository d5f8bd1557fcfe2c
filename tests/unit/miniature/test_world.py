from dataclasses import replace

import numpy as np
import pytest

from miniature.world import Background, Clothes, Identity, Person, Pose, Scene, render

PLAIN = Background("plain")
LEFT_EYE, RIGHT_EYE, NOSE, LEFT_MOUTH, RIGHT_MOUTH = range(5)


def _portrait(identity: Identity | None = None, height_px: int = 256, width_px: int = 256, **pose: float):
    person = Person(identity or Identity(), Pose(**pose), Clothes())
    return render(Scene((person,), PLAIN), height_px, width_px)


def _random_person(seed: int) -> Person:
    return Person.random(np.random.default_rng(seed))


def test_the_same_scene_is_the_same_picture():
    scene = Scene((_random_person(3),), Background.random(np.random.default_rng(4)))
    assert np.array_equal(render(scene, 200, 160).image, render(scene, 200, 160).image)


def test_the_pupils_lie_at_the_eye_keypoints():
    drawn = _portrait()
    for x, y in drawn.keypoints[0, [LEFT_EYE, RIGHT_EYE]]:
        assert drawn.image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].min() < 60


def test_keypoints_come_in_scrfds_order():
    points = _portrait().keypoints[0]
    assert points[LEFT_EYE, 0] < points[NOSE, 0] < points[RIGHT_EYE, 0]
    assert points[LEFT_MOUTH, 0] < points[RIGHT_MOUTH, 0]
    assert points[LEFT_EYE, 1] < points[NOSE, 1] < points[LEFT_MOUTH, 1]


def test_the_box_holds_the_keypoints():
    for seed in range(30):
        drawn = render(Scene((_random_person(seed),), PLAIN), 256, 256)
        x1, y1, x2, y2 = drawn.face_boxes[0]
        x, y = drawn.keypoints[0].T
        assert (x >= x1 - 3).all()
        assert (x <= x2 + 3).all()
        assert (y >= y1).all()
        assert (y <= y2).all()


def test_roll_turns_the_eyes_about_the_head():
    tilt = _portrait(roll_deg=20).keypoints[0]
    across, down = tilt[RIGHT_EYE] - tilt[LEFT_EYE]
    assert np.degrees(np.arctan2(down, across)) == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("yaw", [-25, 25])
def test_yaw_brings_the_nose_towards_the_far_eye(yaw):
    points = _portrait(yaw_deg=yaw).keypoints[0]
    to_left, to_right = points[NOSE, 0] - points[LEFT_EYE, 0], points[RIGHT_EYE, 0] - points[NOSE, 0]
    assert (to_left > to_right) == (yaw > 0)


def test_the_nose_is_nearer_than_the_cheek_and_the_background_farthest():
    drawn = _portrait()
    x, y = drawn.keypoints[0, NOSE].astype(int)
    assert drawn.depth[y, x] > drawn.depth[y, x + 45] > drawn.depth[5, 5]
    assert 0 <= drawn.depth.min() < drawn.depth.max() <= 1


def test_two_identities_differ_where_the_face_is():
    first, second = (replace(_random_person(seed), pose=Pose(), clothes=Clothes()) for seed in (1, 2))
    a, b = (render(Scene((person,), PLAIN), 256, 256) for person in (first, second))
    x1, y1, x2, y2 = a.face_boxes[0].astype(int)
    difference = np.abs(a.image.astype(int) - b.image)[y1:y2, x1:x2].mean()
    assert difference > 12


def test_nobody_and_several_people_can_be_drawn():
    assert render(Scene((), PLAIN), 64, 64).keypoints.shape == (0, 5, 2)
    pair = tuple(replace(_random_person(s), pose=Pose(centre_x=x, head_size=0.3)) for s, x in ((1, 0.25), (2, 0.75)))
    assert render(Scene(pair, PLAIN), 128, 256).face_boxes.shape == (2, 4)


def test_a_picture_of_any_size_shows_the_same_scene():
    small, large = _portrait(height_px=128, width_px=128), _portrait(height_px=256, width_px=256)
    np.testing.assert_allclose(small.keypoints * 2, large.keypoints, atol=0.01)


def test_a_style_changes_every_picture_and_only_its_pixels():
    plain = Scene((_random_person(3),), PLAIN)
    for style in ("black and white photo", "pencil sketch", "oil painting", "pixel art"):
        styled = render(replace(plain, style=style), 128, 128)
        assert np.abs(styled.image.astype(int) - render(plain, 128, 128).image).mean() > 2
        assert np.array_equal(styled.depth, render(plain, 128, 128).depth)


def test_a_black_and_white_photo_has_no_colours():
    image = render(Scene((_random_person(3),), PLAIN, "black and white photo"), 128, 128).image
    assert (image[..., :1] == image).all()


@pytest.mark.parametrize("flaw", ["low quality", "bad anatomy"])
def test_a_flaw_is_the_same_for_the_same_scene(flaw):
    scene = Scene((_random_person(3),), PLAIN, flaw=flaw)
    assert np.array_equal(render(scene, 128, 128).image, render(scene, 128, 128).image)
    assert not np.array_equal(render(scene, 128, 128).image, render(replace(scene, flaw=None), 128, 128).image)


def test_only_men_have_beards():
    people = [Identity.random(np.random.default_rng(seed)) for seed in range(200)]
    assert any(person.beard for person in people)
    assert not any(person.beard for person in people if person.gender == "woman")
