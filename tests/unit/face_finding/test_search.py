"""Which face is found, which way up, in pictures that SCRFD alone gets wrong."""

import numpy as np
import pytest
from face_finding import FaceAnalysis, FaceAnalyst
from face_finding.detection import FaceDetector
from face_finding.faces import Faces
from face_finding.orientation import keypoints_agree, quarter_turns_to_upright
from face_finding.search import join_scales

from insta_depth_shared.manifest import FaceFacts
from tests.unit.face_finding.scripted import ScriptedEngines, draw_face

FREE, FIXED = [640, 320, 160], [640]
"""A detector that takes any input, and one that has a fixed one."""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*estimate.*is deprecated:FutureWarning")]


@pytest.fixture
def engines() -> ScriptedEngines:
    return ScriptedEngines()


@pytest.fixture(params=[FREE, FIXED], ids=["free", "fixed"])
def analyst(engines: ScriptedEngines, request: pytest.FixtureRequest) -> FaceAnalyst:
    return FaceAnalyst(engines, FaceFacts(512, token_count=16, detector_sizes=request.param))


def canvas(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 60, np.uint8)


def width_of(found: FaceAnalysis) -> float:
    return float(found.bbox[2] - found.bbox[0])


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.mark.parametrize("share", [0.71, 0.8, 0.95])
def test_a_face_too_large_for_the_fine_scale_wins_over_a_bystander_in_the_corner(
    analyst: FaceAnalyst, share: float
) -> None:
    picture = canvas(1000, 1000)
    keypoints = draw_face(picture, (500, 500), share * 1000)
    draw_face(picture, (968, 968), 62) if share < 0.9 else draw_face(picture, (12, 12), 23)
    found = analyst.analyse(picture)
    assert width_of(found) == pytest.approx(share * 1000, rel=0.03)
    np.testing.assert_allclose(found.keypoints, keypoints, atol=20)


@pytest.mark.parametrize(("first", "second"), [(300, 290), (290, 300), (200, 201)])
def test_of_near_equal_faces_the_largest_box_wins(analyst: FaceAnalyst, first: int, second: int) -> None:
    picture = canvas(640, 640)
    draw_face(picture, (160, 160), first)
    draw_face(picture, (480, 480), second)
    assert width_of(analyst.analyse(picture)) == pytest.approx(max(first, second), abs=1)


def faces(*boxes: tuple[float, float, float, float]) -> Faces:
    return Faces(np.array([[*box, 0.8] for box in boxes], np.float32), np.zeros((len(boxes), 5, 2), np.float32))


@pytest.mark.parametrize(
    ("coarse", "counts"),
    [
        ((0, 0, 150, 100), False),  # hardly larger
        ((0, 0, 300, 100), True),
        ((450, 450, 560, 560), False),  # the same face as the fine one
        ((450, 450, 900, 900), True),  # the fine one is a corner of it
        ((0, 0, 40, 40), False),
    ],
)
def test_a_face_of_the_coarse_scale_alone_counts_where_it_is_much_larger(
    coarse: tuple[float, float, float, float], counts: bool
) -> None:
    fine = faces((460, 460, 560, 560), (0, 300, 50, 350))
    joined = join_scales(fine, faces(coarse))
    np.testing.assert_array_equal(joined.boxes[:2], fine.boxes)
    assert len(joined) == 2 + counts


def test_a_face_seen_at_both_scales_is_the_fine_one(analyst: FaceAnalyst) -> None:
    picture = canvas(643, 1277)
    draw_face(picture, (601.5, 310.5), 400.7)
    found = analyst.analyse(picture)
    assert found.face_count.tolist() == [1]
    assert width_of(found) == pytest.approx(400.7, abs=2.5)


@pytest.mark.parametrize("roll_deg", [0, 30, 45, 60, 90, 120, 135, 150, 180, 225, 270, 315])
def test_a_turned_face_is_found_with_its_eyes_where_they_are(analyst: FaceAnalyst, roll_deg: int) -> None:
    upright, turned = canvas(700, 900), canvas(700, 900)
    draw_face(upright, (450, 350), 200)
    keypoints = draw_face(turned, (400, 300), 200, roll_deg)
    found = analyst.analyse(turned)
    np.testing.assert_allclose(found.keypoints, keypoints, atol=4)
    assert cosine(found.embedding, analyst.analyse(upright).embedding) > 0.95


def test_an_upright_face_costs_two_small_looks_beside_the_published_one(engines: ScriptedEngines) -> None:
    picture = canvas(700, 900)
    draw_face(picture, (450, 350), 200)
    FaceAnalyst(engines, FaceFacts(512, 16, FREE)).analyse(picture)
    assert engines.sides == [640, 160, 320]


def test_a_face_of_which_no_turn_looks_upright_is_refused(engines: ScriptedEngines) -> None:
    def never_upright(model, inputs, outputs):
        arrays = engines(model, inputs, outputs)
        return {name: array[..., ::-1] if "kps" in name else array for name, array in arrays.items()}

    picture = canvas(700, 900)
    draw_face(picture, (450, 350), 200)
    assert FaceAnalyst(never_upright, FaceFacts(512, 16, FREE)).analyse(picture).face_count.tolist() == [0]


class SeesTurns(FaceDetector):
    """Sees an upright face of the given score in each of the given quarters of what it is shown."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.sides = (640, 320, 160)
        self._scores = scores

    def detect(self, picture: np.ndarray, side: int) -> Faces:
        seen = Faces.none()
        for turns, score in self._scores.items():
            seen += upright_face(score, (side / 4 + side / 2 * (turns % 2), side / 4 + side / 2 * (turns // 2)))
        return seen


def upright_face(score: float, centre: tuple[float, float], roll_deg: float = 0.0) -> Faces:
    x, y = centre
    keypoints = draw_face(canvas(1, 1), centre, 80, roll_deg)
    return Faces(np.array([[x - 40, y - 40, x + 40, y + 40, score]], np.float32), keypoints[None].astype(np.float32))


@pytest.mark.parametrize(
    ("score", "turns", "expected"),
    [
        (0.6, {}, None),
        (0.8, {}, 0),
        (0.6, {0: 0.72}, 0),
        (0.6, {0: 0.81, 2: 0.81}, None),
        (0.6, {0: 0.81, 2: 0.79}, None),
        (0.8, {0: 0.81, 2: 0.79}, 0),
        (0.6, {0: 0.81, 1: 0.79}, 0),  # leans half-way
        (0.6, {1: 0.6, 3: 0.8}, 3),
    ],
)
def test_a_doubtful_face_counts_only_where_one_turn_is_clearly_the_upright_one(
    score: float, turns: dict[int, float], expected: int | None
) -> None:
    picture = canvas(400, 400)
    assert quarter_turns_to_upright(SeesTurns(turns), picture, upright_face(score, (200, 200))) == expected


@pytest.mark.parametrize(
    ("roll_deg", "turns", "agree"),
    [(0, 0, True), (60, 0, True), (60, 1, True), (-60, 3, True), (-47, 1, False), (47, 3, False), (170, 0, False)],
)
def test_keypoints_that_lean_another_way_than_the_turns_say_are_no_answer(
    roll_deg: float, turns: int, agree: bool
) -> None:
    assert keypoints_agree(upright_face(0.8, (200, 200), roll_deg), turns) == agree


@pytest.mark.parametrize("width", [18, 24, 40])
@pytest.mark.parametrize("place", [(100, 100), (1000, 641), (1890, 1250)])
def test_a_face_too_small_for_one_input_is_found_without_shrinking(
    analyst: FaceAnalyst, width: int, place: tuple[int, int]
) -> None:
    picture = canvas(1280, 1920)
    keypoints = draw_face(picture, place, width)
    found = analyst.analyse(picture)
    np.testing.assert_allclose(found.keypoints, keypoints, atol=4)
    assert found.face_count.tolist() == [1]


def test_a_small_face_that_is_turned_is_found_too(analyst: FaceAnalyst) -> None:
    picture = canvas(1280, 1920)
    keypoints = draw_face(picture, (1000, 641), 32, 180)
    np.testing.assert_allclose(analyst.analyse(picture).keypoints, keypoints, atol=2)
