"""Which picture a face is looked for in, and from which size on its identity counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from denoising.faces import SentPicture, find_face, find_identity

from insta_depth_shared.errors import FaceTooSmall
from tests.unit.denoising.fakes import RED, picture
from tests.unit.denoising.test_pipeline import Studio

NEEDED_PX = 24


class SizedFaces:
    """Finds a face of ``share`` of the picture's sides, in pictures whose longer side is in ``sides``."""

    def __init__(self, share: float, sides: Sequence[int]) -> None:
        self.share, self.sides = share, sides
        self.seen: list[tuple[int, int]] = []

    async def call(self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        height, width = inputs["image"].shape[:2]
        self.seen.append((width, height))
        box = np.array([0, 0, width * self.share, height * self.share], np.float32)
        return {
            "face_count": np.array([max(height, width) in self.sides], np.int32),
            "bbox": box,
            "keypoints": np.tile(box[2:], (5, 1)),
            "embedding": np.array([width], np.float32),
        }

    call_on: Any = None


def sent(width: int, height: int, resized: tuple[int, int] = (1280, 832)) -> SentPicture:
    original = np.zeros((height, width, 3), np.uint8)
    return SentPicture(np.zeros((*resized[::-1], 3), np.uint8), (height, width), lambda: original)


async def test_the_resized_picture_is_enough_where_it_shows_a_face() -> None:
    networks = SizedFaces(0.3, sides=[1280, 1920])
    face = await find_identity(networks, sent(1920, 1280), "face_image", NEEDED_PX)
    assert networks.seen == [(1280, 832)]
    assert face is not None
    assert face.embedding.tolist() == [1280]


@pytest.mark.parametrize(("size", "closer"), [((1920, 1280), (1920, 1280)), ((6000, 3000), (2560, 1280))])
async def test_a_face_that_it_does_not_show_is_looked_for_in_what_was_sent(
    size: tuple[int, int], closer: tuple[int, int]
) -> None:
    networks = SizedFaces(0.05, sides=[max(closer)])
    face = await find_face(networks, sent(*size))
    assert networks.seen == [(1280, 832), closer]
    assert face is not None
    np.testing.assert_allclose(face.bbox, [0, 0, 64, 41.6], rtol=1e-5)
    np.testing.assert_allclose(face.keypoints, [[64, 41.6]] * 5, rtol=1e-5)


@pytest.mark.parametrize("width", [24, 30, 47])
async def test_a_face_large_enough_in_the_resized_picture_is_the_published_pipelines_and_seen_once(width: int) -> None:
    networks = SizedFaces((width + 0.1) / 832, sides=[832])
    face = await find_identity(networks, sent(2496, 2496, resized=(832, 832)), "face_image", NEEDED_PX)
    assert networks.seen == [(832, 832)]
    assert face is not None
    assert face.embedding.tolist() == [832]
    np.testing.assert_allclose(face.bbox, [0, 0, width + 0.1, width + 0.1], rtol=1e-5)


async def test_a_resized_face_of_too_few_pixels_is_seen_in_its_surroundings_as_they_were_sent() -> None:
    networks = SizedFaces(0.0285, sides=[1280, 437])
    face = await find_identity(networks, sent(1920, 1280), "face_image", NEEDED_PX)
    assert networks.seen == [(1280, 832), (437, 437)]
    assert face is not None
    assert face.embedding.tolist() == [437]
    np.testing.assert_allclose(face.bbox, [0, 0, 437 * 0.0285 / 1.5, 437 * 0.0285 * 832 / 1280], rtol=1e-4)


async def test_a_small_face_that_its_surroundings_do_not_show_stays_as_it_was_found() -> None:
    face = await find_identity(SizedFaces(0.0285, sides=[1280]), sent(1920, 1280), "face_image", NEEDED_PX)
    assert face is not None
    assert face.embedding.tolist() == [1280]


@pytest.mark.parametrize("size", [(1280, 832), (640, 416), (32, 21)])
async def test_no_more_is_seen_than_was_sent(size: tuple[int, int]) -> None:
    networks = SizedFaces(0.3, sides=[])
    assert await find_face(networks, sent(*size)) is None
    assert networks.seen == [(1280, 832)]


@pytest.mark.parametrize("size", [(32, 32), (1920, 1280)])
async def test_a_face_of_too_few_pixels_is_refused_with_its_size_and_the_size_needed(size: tuple[int, int]) -> None:
    networks = SizedFaces(23 / max(size) if size[0] > 32 else 0.6, sides=[1280, 1920])
    width, height = (23, 15) if size[0] > 32 else (19, 19)
    with pytest.raises(FaceTooSmall) as caught:
        await find_identity(networks, sent(*size), "face_image", NEEDED_PX)
    assert str(caught.value) == (
        f"[FACE_TOO_SMALL] face_image: the largest face is {width}×{height} pixels; "
        "its shorter side has to be 24 at least"
    )


async def test_the_face_picture_is_measured_as_it_was_sent_and_the_pose_picture_is_not() -> None:
    studio = Studio()  # its face is half as wide and half as high as its picture
    await studio.generate(face_image=picture(RED, 48, 48), pose_image=picture(RED, 20, 20))
    with pytest.raises(FaceTooSmall, match="face_image: the largest face is 24×23 pixels"):
        await studio.generate(face_image=picture(RED, 48, 46))
    assert studio.metrics.outcomes == ["ok", "face_too_small"]


@pytest.mark.parametrize("max_side", [128, 64])
async def test_a_smaller_picture_alone_brings_no_second_look(max_side: int) -> None:
    studio = Studio()
    await studio.generate(max_side=max_side, face_image=picture(RED, 400, 400))
    seen = [inputs["image"].shape[:2] for inputs in studio.networks.inputs_of("face_analysis")]
    assert (max_side, max_side) in seen
    assert max(height for height, _ in seen) <= max_side


async def test_a_face_that_a_small_picture_alone_makes_small_is_not_refused() -> None:
    studio = Studio()
    await studio.generate(max_side=64, face_image=picture(RED, 48, 200))
    with pytest.raises(FaceTooSmall, match="face_image: the largest face is 23×100 pixels"):
        await studio.generate(max_side=64, face_image=picture(RED, 46, 200))
