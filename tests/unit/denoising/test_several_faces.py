"""Several pictures of one person: their mean is the identity, and another person's is found out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from denoising.faces import check_one_person

from insta_depth_shared.errors import FacesDiffer, FaceTooSmall, NoFace
from tests.unit.denoising.fakes import FakeNetworks, picture
from tests.unit.denoising.test_pipeline import BLUE, Studio


def face(blue: int, **size: int) -> bytes:
    return picture((255, 0, blue), **size)


def embedding_of(blue: int) -> np.ndarray:
    """A quarter turn from 0 to 255, the longer the bluer."""
    angle = blue / 255 * np.pi / 2
    made = np.zeros(512, np.float32)
    made[:2] = (1 + blue / 100) * np.array([np.cos(angle), np.sin(angle)])
    return made


class People(FakeNetworks):
    def _face_analysis(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return super()._face_analysis(inputs) | {"embedding": embedding_of(int(inputs["image"][0, 0, 2]))}


class PeoplesStudio(Studio):
    def __init__(self) -> None:
        super().__init__()
        self.networks = People()
        self.pipeline._networks = self.networks

    def identity(self) -> np.ndarray:
        (inputs,) = self.networks.inputs_of("identity_projector")
        return inputs["face_emb"][-1]


async def test_the_identity_is_the_mean_of_the_embeddings_as_they_are() -> None:
    studio = PeoplesStudio()
    await studio.generate(face_image=[face(0), face(40), face(80)])
    expected = np.mean([embedding_of(blue) for blue in (0, 40, 80)], axis=0)
    np.testing.assert_allclose(studio.identity(), expected, rtol=1e-6)


@pytest.mark.parametrize("as_list", [False, True])
async def test_one_picture_s_embedding_stays_what_it_is_to_the_bit(as_list: bool) -> None:
    studio = PeoplesStudio()
    await studio.generate(face_image=[face(77)] if as_list else face(77))
    np.testing.assert_array_equal(studio.identity(), embedding_of(77))


async def test_the_picture_without_a_face_is_named_by_its_place() -> None:
    with pytest.raises(NoFace, match=r"^\[NO_FACE\] face_image\[1\]: no face found"):
        await PeoplesStudio().generate(face_image=[face(0), picture(BLUE), face(0)])


async def test_the_picture_with_too_small_a_face_is_named_by_its_place() -> None:
    with pytest.raises(FaceTooSmall, match=r"face_image\[2\]: the largest face is 20×20 pixels"):
        await PeoplesStudio().generate(face_image=[face(0), face(0), face(0, width=40, height=40)])


async def test_another_person_is_named_with_what_to_do() -> None:
    with pytest.raises(FacesDiffer) as caught:
        await PeoplesStudio().generate(face_image=[face(0), face(255), face(10), face(20)])
    assert str(caught.value) == (
        "[FACES_DIFFER] face_image[1]: shows another person than the others: the cosine of their embeddings is 0.06, "
        'below 0.2; leave it out, or set face_mismatch to "average"'
    )


async def test_of_two_people_the_second_is_named() -> None:
    with pytest.raises(FacesDiffer, match=r"face_image\[1\]: shows another person than face_image\[0\]"):
        await PeoplesStudio().generate(face_image=[face(0), face(255)])


async def test_different_people_are_averaged_where_that_is_asked_for() -> None:
    studio = PeoplesStudio()
    await studio.generate(face_image=[face(0), face(255)], face_mismatch="average")
    np.testing.assert_allclose(studio.identity(), (embedding_of(0) + embedding_of(255)) / 2)


@pytest.mark.parametrize(("above", "count"), [(True, 2), (False, 2), (True, 5), (False, 5)])
def test_the_limit_is_the_cosine_with_the_mean_of_the_others(above: bool, count: int) -> None:
    least = 0.3
    angle = np.arccos(least) + (-1e-3 if above else 1e-3)
    faces = [np.array([1.0, 0.0])] * (count - 1) + [3 * np.array([np.cos(angle), np.sin(angle)])]
    names = [f"face_image[{place}]" for place in range(count)]
    if above:
        check_one_person(faces, names, least)
    else:
        with pytest.raises(FacesDiffer, match=rf"face_image\[{count - 1}\]"):
            check_one_person(faces, names, least)


async def test_the_limit_is_the_checkpoint_s() -> None:
    studio = PeoplesStudio()
    manifest = studio.pipeline._manifest
    pair = [face(0), face(100)]
    await studio.generate(face_image=pair)
    studio.pipeline._manifest = replace(manifest, face=replace(manifest.face, same_person_cosine=0.9))
    with pytest.raises(FacesDiffer, match=r"embeddings is 0\.82, below 0\.9;"):
        await studio.generate(face_image=pair)
