"""The second pass through real Triton, against the published image-to-image pipeline on the same weights."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from denoising.conditioning import DepthProcessor
from denoising.control_pictures import depth_picture, draw_face_keypoints
from denoising.networks import Face
from denoising.refining import SEARCHED, SURROUNDINGS, Square, put_back
from insta_depth import Generation, InstaDepth, Progress
from PIL import Image

from insta_depth_shared.manifest import Manifest
from insta_depth_shared.pictures import resize_for_model
from tests.psnr import psnr_db
from tests.reference.pipeline import Conditions, ReferencePipeline
from tests.triton.conditions import infer

PROMPT = "photo of a woman in a red dress"


@pytest.fixture(scope="module")
def reference(miniature_checkpoint):
    return ReferencePipeline(miniature_checkpoint)


def face_in(url: str, image: np.ndarray) -> Face:
    found = [infer(url, "face_analysis", {"image": image}, name) for name in ("bbox", "keypoints", "embedding")]
    return Face(*found)


def read(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("strength", [0.2, 0.4, 0.6])
def test_the_pass_is_the_published_pipelines(make, server, miniature_repository, reference, face, pose, strength):
    url, facts = server.grpc_url, Manifest.load(miniature_repository / "insta_depth_stream" / "1")
    asked = {"prompt": PROMPT, "seed": 11, "num_inference_steps": 10}
    first, served = make(**asked), make(**asked, refine_face="always", refine_strength=strength)
    assert psnr_db(first, served) < 50, "there was no second pass"

    side, sizes = facts.image.refined_side, facts.image
    resized = [resize_for_model(read(each), sizes.min_side, sizes.max_side, sizes.multiple) for each in (face, pose)]
    posed = face_in(url, resized[1])
    searched = Square.around(posed, SEARCHED, first.shape[:2], most=max(first.shape[:2]))
    factor = searched.side / side
    found = face_in(url, searched.enlarged(first, side)).scaled(factor, factor).moved(searched.left, searched.top)
    square = Square.around(found, SURROUNDINGS, first.shape[:2], most=side)
    closer, closer_face = square.enlarged(resized[1], side), square.face_in(posed, side)
    pixels = DepthProcessor(miniature_repository / "insta_depth_stream" / "1" / "depth_processor")(closer)
    predicted = infer(url, "depth_estimator", {"pixel_values": pixels.astype(facts.numpy_dtype)}, "predicted_depth")
    seen = Conditions(
        embedding=face_in(url, resized[0]).embedding,
        keypoints=draw_face_keypoints(closer_face.keypoints, side, side),
        depth=np.ascontiguousarray(depth_picture(torch.tensor(predicted), side, side)),
        box=closer_face.bbox,
    )
    refined = reference(seen, PROMPT, steps=10, seed=11, image=square.enlarged(first, side), strength=strength)
    expected = put_back(first, square, refined)
    assert psnr_db(square.of(served), square.of(expected)) >= 50
    assert psnr_db(served, expected) >= 50


def test_it_is_told_step_by_step_and_in_the_answer(server, face, pose):
    with InstaDepth(server.grpc_url) as client:
        request = {"prompt": PROMPT, "face_image": face, "pose_image": pose, "seed": 11}
        *steps, made = client.stream(**request, refine_face="always")
        assert isinstance(made, Generation)
        assert made.refined
        assert made.timings["refine"] > 0
        assert [step.step for step in steps if isinstance(step, Progress)] == list(range(1, 15))
        assert not client.generate(**request).refined


def test_alone_and_in_company_the_same(make):
    asked = [{"seed": seed, "refine_face": "always", "num_inference_steps": 6} for seed in range(4)]
    alone = [make(**each) for each in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        company = list(pool.map(lambda each: make(**each), asked))
    assert all(psnr_db(*pair) >= 60 for pair in zip(alone, company, strict=True))
