"""The served picture against the published pipeline composed of diffusers' modules, on the same weights."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.psnr import psnr_db
from tests.reference.pipeline import ReferencePipeline
from tests.triton.conditions import conditions_of

PROMPT = "photo of a woman in a red dress"


@pytest.fixture(scope="module")
def reference(miniature_checkpoint):
    return ReferencePipeline(miniature_checkpoint)


@pytest.fixture(scope="module")
def see(server, miniature_repository, face, pose):
    return lambda region, of=face: conditions_of(server.grpc_url, miniature_repository, of, pose, region)


@pytest.mark.parametrize("region", [False, True], ids=["whole", "face region"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("negative", [None, "lowquality, sketches"])
def test_the_served_picture_is_the_published_pipelines(make, see, reference, guidance, region, negative):
    served = make(
        prompt=PROMPT,
        negative_prompt=negative,
        guidance_scale=guidance,
        seed=42,
        enhance_face_region=region,
    )
    expected = reference(see(region), PROMPT, negative, guidance=guidance, seed=42)
    assert psnr_db(served, expected) >= 50


def test_sixty_four_bit_seeds_mean_the_same_picture(make, see, reference):
    seed = 999_999_999_999_999
    served = make(prompt=PROMPT, seed=seed, enhance_face_region=False, num_inference_steps=4)
    assert psnr_db(served, reference(see(False), PROMPT, seed=seed, steps=4)) >= 50


def test_a_request_may_ask_for_a_smaller_picture(make, server, miniature_repository, reference, face, pose):
    face = resized(face, (104, 128))  # without more pixels than the networks see, a small face gets no second look
    served = make(prompt=PROMPT, seed=5, face_image=face, max_side=128, num_inference_steps=4)
    seen = conditions_of(server.grpc_url, miniature_repository, face, pose, region=True, max_side=128)
    assert max(served.shape) == 128
    assert psnr_db(served, reference(seen, PROMPT, seed=5, steps=4)) >= 50


def test_of_several_pictures_the_mean_of_the_raw_embeddings_is_the_identity(make, see, reference, face):
    faces = [
        face,
        changed(face, ImageOps.mirror),
        changed(face, lambda image: ImageEnhance.Brightness(image).enhance(0.7)),
    ]
    served = make(prompt=PROMPT, seed=3, face_image=faces, enhance_face_region=False, num_inference_steps=4)
    each = [see(False, of_face).embedding for of_face in faces]
    assert max(np.linalg.norm(each[0] - other) for other in each[1:]) > 0.1 * np.linalg.norm(each[0])
    seen = dataclasses.replace(see(False), embedding=np.mean(each, axis=0))
    assert psnr_db(served, reference(seen, PROMPT, seed=3, steps=4)) >= 50


def changed(picture, change):
    file = io.BytesIO()
    change(Image.open(io.BytesIO(picture)).convert("RGB")).save(file, "PNG")
    return file.getvalue()


def test_a_square_is_as_large_as_the_longest_side(make, face):
    assert make(pose_image=resized(face, (200, 200)), num_inference_steps=4).shape == (192, 192, 3)


def resized(picture: bytes, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).resize(size).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("part", ["ip_adapter_scale", "identitynet_scale", "depth_scale"])
def test_scale_zero_is_leaving_the_part_out(make, see, reference, part):
    served = make(prompt=PROMPT, seed=3, enhance_face_region=False, num_inference_steps=4, **{part: 0.0})
    without = reference(see(False), PROMPT, seed=3, steps=4, leave_out=part.removesuffix("_scale"))
    assert psnr_db(served, without) >= 50
