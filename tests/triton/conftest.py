"""A client of the live server, and a picture of it."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from insta_depth import InstaDepth
from PIL import Image

from deploy.local.server import LocalTriton


@pytest.fixture(scope="session")
def client(server: LocalTriton) -> Iterator[InstaDepth]:
    """A client of that server."""
    with InstaDepth(server.grpc_url, timeout_s=120) as connected:
        yield connected


@pytest.fixture(scope="session")
def make(client: InstaDepth, face: bytes, pose: bytes) -> Callable[..., np.ndarray]:
    """Make a picture with the demo's inputs, changed as asked: (H, W, 3) uint8."""

    def generate(**changes: object) -> np.ndarray:
        attributes = dict(face_image=face, pose_image=pose, prompt="photo of a woman in a red dress", seed=7)
        generation = client.generate(**attributes | {"output_format": "png"} | changes)
        return np.asarray(Image.open(io.BytesIO(generation.image)))

    return generate
