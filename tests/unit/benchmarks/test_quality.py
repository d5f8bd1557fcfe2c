import json
import sys
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.quality import command
from benchmarks.quality.cases import MOST_FACES, draw_cases
from benchmarks.quality.measures import Sight, background_colour, clothes_colour, depth_correlation, keypoint_error
from benchmarks.quality.scores import OTHERS, Summary, Targets, score
from benchmarks.quality.sheet import contact_sheet
from miniature.world import Scene, render
from miniature.world.palette import CLOTHS, SKIES, name_of

CASES = list(draw_cases(60))
POINTS = np.array([[20.0, 20], [40, 20], [30, 30], [22, 40], [38, 40]], np.float32)
BOX = np.array([10.0, 10, 50, 50], np.float32)
RAMP = np.linspace(0, 1, 64).reshape(8, 8).astype(np.float32)


def sight(embedding=None, keypoints=POINTS, depth=RAMP):
    return Sight(np.ones(512, np.float32) if embedding is None else embedding, keypoints, BOX, depth)


def truth(case):
    """What a perfect service would make of a case."""
    person = replace(case.pose.people[0], identity=case.face.people[0].identity, clothes=case.clothes)
    drawn = render(Scene((person,), case.background), *case.pose_size_px).image
    return cv2.resize(drawn, (128, 128), interpolation=cv2.INTER_AREA)


def test_cases_are_the_same_for_the_same_seed_and_others_for_another():
    assert list(draw_cases(3, seed=1)) == list(draw_cases(3, seed=1))
    assert list(draw_cases(3, seed=1)) != list(draw_cases(3, seed=2))


def test_the_unseen_face_is_the_person_in_a_picture_that_no_request_has():
    for case in CASES[:3]:
        assert case.more_faces[-1].people[0].identity == case.face.people[0].identity
        sent = case.face_pictures(MOST_FACES)
        assert len(sent) == MOST_FACES
        assert not any(np.array_equal(case.unseen_face_picture, picture) for picture in sent)


def test_the_true_picture_has_the_right_colours():
    for case in CASES:
        image = truth(case)
        wanted = name_of(case.clothes.cloth, CLOTHS)
        assert clothes_colour(image, case.pose.people[0], case.pose_size_px) == wanted
        if case.background.kind == "plain":
            assert background_colour(image) == name_of(case.background.sky, SKIES)


def test_another_case_s_picture_mostly_has_the_wrong_ones():
    right = [
        clothes_colour(truth(other), case.pose.people[0], case.pose_size_px) == name_of(case.clothes.cloth, CLOTHS)
        for case, other in pairwise(CASES)
    ]
    assert np.mean(right) < 0.4


def test_keypoints_are_measured_in_sizes_of_the_face():
    assert keypoint_error(sight(), sight()) == 0
    assert keypoint_error(sight(keypoints=POINTS + np.array([4, 0])), sight()) == pytest.approx(0.1)
    assert keypoint_error(sight(keypoints=None), sight()) == float("inf")


def test_depth_is_compared_but_for_its_scale():
    assert depth_correlation(sight(depth=0.2 + 0.5 * RAMP), sight()) == pytest.approx(1)
    assert depth_correlation(sight(depth=1 - RAMP), sight()) == pytest.approx(-1)


@pytest.mark.parametrize(("own", "first"), [(0, True), (1, False)])
def test_the_right_person_has_to_come_first_among_twenty(own, first):
    faces = np.eye(512, dtype=np.float32)[: OTHERS + 5]
    unseen = sight(embedding=faces[0] + faces[own])
    seen = score(CASES[0], truth(CASES[0]), sight(embedding=faces[0]), sight(), unseen, faces, own)
    assert seen.first == first
    assert seen.cosine == pytest.approx(1.0 if first else 0.0)
    assert seen.unseen_cosine == pytest.approx(1.0 if first else 0.5**0.5)


def score_of_no_face():
    faces = np.eye(512, dtype=np.float32)[: OTHERS + 1]
    return score(CASES[0], truth(CASES[0]), Sight(None, None, None, RAMP), sight(), sight(), faces, 0)


def test_no_face_is_nobody():
    nobody = score_of_no_face()
    assert not nobody.first
    assert nobody.cosine == nobody.unseen_cosine == -1


def test_a_record_is_json_that_any_reader_takes(tmp_path):
    setting = command.Setting("euler", 10, 3.0)
    command._write(tmp_path, setting, CASES[:1], [truth(CASES[0])], [score_of_no_face()])

    def refuse(word):
        raise ValueError(word)

    record = json.loads((tmp_path / "euler-10-3.jsonl").read_text(), parse_constant=refuse)
    assert record["keypoint_error"] is None
    assert record["depth_correlation"] == pytest.approx(1)


def test_a_row_that_misses_any_target_does_not_pass():
    good = Summary(100, 0.95, 0.8, 0.8, 0.03, 0.95, 0.95, 0.95)
    assert good.meets(Targets())
    for name, value in (("first", 0.89), ("keypoint_error", 0.06), ("depth_correlation", 0.8), ("clothes", 0.8)):
        assert not replace(good, **{name: value}).meets(Targets())


def test_a_sheet_shows_every_case():
    sheet = np.asarray(contact_sheet(CASES[:5], [truth(case) for case in CASES[:5]]))
    assert (sheet < 250).any(axis=(1, 2)).sum() > 2 * 128


def test_a_pose_without_a_face_is_left_out():
    hidden = CASES[1].pose_picture

    def see(image):
        return Sight(None, None, None, RAMP) if np.array_equal(image, hidden) else sight()

    assert command._visible(CASES[:3], see) == [CASES[0], CASES[2]]


def test_smaller_faces_change_nothing_else():
    (usual,), (small,) = draw_cases(1), draw_cases(1, face_size=0.25)
    (person,) = small.pose.people
    assert person.pose.head_size == pytest.approx(0.25 * usual.pose.people[0].pose.head_size)
    restored = replace(person, pose=replace(person.pose, head_size=usual.pose.people[0].pose.head_size))
    assert replace(small, pose=replace(small.pose, people=(restored,))) == usual


def test_what_cannot_be_served_is_said_in_one_sentence(tmp_path, monkeypatch, capsys):
    asked = ["quality", "--repository", str(tmp_path / "none"), "--output", str(tmp_path), "--cases", "20"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *asked])
    assert main() == 2
    assert "none is not a model repository" in capsys.readouterr().err
