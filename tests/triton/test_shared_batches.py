"""A request gives the same picture alone and among others of any steps, guidance and size; one that waits is told."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.psnr import psnr_db

REQUESTS = [
    {"num_inference_steps": 10, "guidance_scale": 3.0, "seed": 1},
    {"num_inference_steps": 7, "guidance_scale": 1.0, "seed": 2},
    {"num_inference_steps": 12, "guidance_scale": 5.0, "seed": 3, "scheduler": "dpmpp_2m_karras"},
    {"num_inference_steps": 5, "guidance_scale": 2.0, "seed": 4, "negative_prompt": "sketches"},
    {"num_inference_steps": 10, "guidance_scale": 3.0, "seed": 5, "scheduler": "lcm"},
    {"num_inference_steps": 9, "guidance_scale": 3.0, "seed": 6, "enhance_face_region": False},
    {"num_inference_steps": 6, "guidance_scale": 1.0, "seed": 7, "scheduler": "unipc"},
    {"num_inference_steps": 8, "guidance_scale": 4.0, "seed": 8, "prompt": "a long prompt, " * 12},
]


@pytest.fixture(scope="module")
def requests(pose):
    """The other requests, half of it with a pose picture of another shape."""
    wide = _widened(pose)
    return [request | ({"pose_image": wide} if i % 2 else {}) for i, request in enumerate(REQUESTS)]


def _widened(pose: bytes) -> bytes:
    """Continue the picture's edges to both sides until it is twice as wide as high."""
    image = np.asarray(Image.open(io.BytesIO(pose)).convert("RGB"))
    margin = (2 * image.shape[0] - image.shape[1]) // 2
    buffer = io.BytesIO()
    Image.fromarray(np.pad(image, ((0, 0), (margin, margin), (0, 0)), "edge")).save(buffer, "PNG")
    return buffer.getvalue()


def test_other_requests_in_the_batch_change_nothing(make, requests):
    alone = [make(**request) for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda request: make(**request), requests))
    assert len({picture.shape for picture in alone}) == 2
    assert min(psnr_db(a, b) for a, b in zip(alone, together, strict=True)) >= 60
    assert psnr_db(np.asarray(alone[0]), alone[2]) < 45


def test_a_long_request_waits_for_a_short_one_of_another_size_and_is_told(client, face, pose):
    ask = dict(face_image=face, prompt="a woman", seed=1, guidance_scale=1.0)
    seen, has_begun = [], threading.Event()

    def watch(progress):
        seen.append(progress)
        has_begun.set()

    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(
            client.generate, **ask, pose_image=_widened(pose), num_inference_steps=100, on_progress=watch
        )
        assert has_begun.wait(60)
        pool.submit(client.generate, **ask, pose_image=pose, num_inference_steps=4).result()
        assert not long.done()
        long.result()
    assert [progress.step for progress in seen if not progress.ahead] == list(range(1, 101))
    (waited,) = [progress for progress in seen if progress.ahead]
    assert (waited.ahead, waited.num_inference_steps) == (1, 100)
    assert 0 < waited.step < 100
