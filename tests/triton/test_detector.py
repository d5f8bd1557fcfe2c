"""The trained face detector, through the served `face_analysis`, on people it has never seen."""

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from miniature.world import Background, Person, Pose, Scene, render

PEOPLE = 60
FOUND_SHARE, KEYPOINT_ERROR = 0.95, 0.1
"""Lower end of the faces found; upper end of the median keypoint's distance in widths of the face."""


@pytest.fixture(scope="module")
def analyse(server):
    """Ask `face_analysis` for the largest face of an RGB picture."""
    with InferenceServerClient(server.grpc_url) as client:

        def ask(image: np.ndarray) -> dict[str, np.ndarray]:
            tensor = InferInput("image", list(image.shape), "UINT8")
            tensor.set_data_from_numpy(image)
            result = client.infer("face_analysis", [tensor])
            return {name: result.as_numpy(name) for name in ("face_count", "keypoints", "bbox", "embedding")}

        yield ask


def test_faces_are_found_where_they_are(analyse):
    rng = np.random.default_rng(2026)
    errors = []
    for _ in range(PEOPLE):
        height, width = (int(n) for n in rng.integers(128, 321, 2))
        drawn = render(Scene((Person.random(rng),), Background.random(rng)), height, width)
        face = analyse(drawn.image)
        if face["face_count"][0]:
            width_px = drawn.face_boxes[0, 2] - drawn.face_boxes[0, 0]
            errors.append(np.linalg.norm(face["keypoints"] - drawn.keypoints[0], axis=1).mean() / width_px)
    assert len(errors) >= FOUND_SHARE * PEOPLE
    assert np.median(errors) <= KEYPOINT_ERROR


@pytest.mark.parametrize("kind", ["plain", "gradient", "hills", "city", "room"])
def test_nothing_is_found_where_nobody_is(analyse, kind):
    places = [Scene((), Background(kind, seed=seed)) for seed in range(4)]
    assert [int(analyse(render(place, 200, 240).image)["face_count"][0]) for place in places] == [0] * 4


def test_noise_is_no_face(analyse):
    noise = np.random.default_rng(1).integers(0, 256, (200, 160, 3), np.uint8)
    assert analyse(noise)["face_count"][0] == 0


def test_the_larger_of_two_faces_counts(analyse):
    rng = np.random.default_rng(11)
    poses = (Pose(centre_x=0.2, head_size=0.25), Pose(centre_x=0.68, head_size=0.6))
    people = tuple(Person(Person.random(rng).identity, pose) for pose in poses)
    drawn = render(Scene(people), 200, 320)
    found = analyse(drawn.image)["bbox"]
    assert np.abs(found - drawn.face_boxes[1]).max() < np.abs(found - drawn.face_boxes[0]).max()


def test_a_face_as_wide_as_the_frame_wins_over_a_bystander(analyse):
    rng = np.random.default_rng(12)
    poses = (Pose(centre_x=0.12, centre_y=0.2, head_size=0.16), Pose(centre_y=0.5, head_size=0.9))
    people = tuple(Person(Person.random(rng).identity, pose) for pose in poses)
    drawn = render(Scene(people), 256, 256)
    assert np.abs(analyse(drawn.image)["bbox"] - drawn.face_boxes[1]).max() < 30


@pytest.mark.parametrize("quarter_turns", [1, 3])
def test_a_picture_on_its_side_shows_the_same_person(analyse, quarter_turns):
    person = Person(Person.random(np.random.default_rng(3)).identity, Pose(head_size=0.5))
    image = render(Scene((person,)), 256, 256).image
    upright, turned = (analyse(np.ascontiguousarray(np.rot90(image, turns))) for turns in (0, quarter_turns))
    cosine = upright["embedding"] @ turned["embedding"]
    assert cosine > 0.95 * np.linalg.norm(upright["embedding"]) * np.linalg.norm(turned["embedding"])


def test_a_face_that_fills_the_frame_is_found(analyse):
    person = Person(Person.random(np.random.default_rng(5)).identity, Pose(centre_y=0.5, head_size=1.15))
    assert analyse(render(Scene((person,)), 200, 180).image)["face_count"][0] >= 1


def test_embeddings_tell_people_apart_more_than_pictures_of_one(analyse):
    rng = np.random.default_rng(8)
    people = [Person.random(rng).identity for _ in range(6)]
    poses = (Pose(head_size=0.5), Pose(head_size=0.45, roll_deg=6, yaw_deg=8))

    def embedding(identity, pose):
        vector = analyse(render(Scene((Person(identity, pose),)), 256, 256).image)["embedding"]
        return vector / np.linalg.norm(vector)

    first, second = (np.stack([embedding(identity, pose) for identity in people]) for pose in poses)
    similarity = first @ second.T
    same, other = np.diag(similarity).mean(), similarity[~np.eye(6, dtype=bool)].mean()
    assert same > other + 0.1
