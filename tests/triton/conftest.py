"""One live server for the whole folder, and pictures to send to it."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from insta_depth import InstaDepth
from PIL import Image

from deploy.local.server import ON_FREE_PORTS, LocalTriton

MAX_REQUESTS = 8


@pytest.fixture(scope="session")
def server(miniature_repository: Path) -> Iterator[LocalTriton]:
    """Real Triton with the miniature checkpoint."""
    settings = {"INSTA_DEPTH_MAX_REQUESTS": str(MAX_REQUESTS)}
    with LocalTriton(miniature_repository, ON_FREE_PORTS, environment=settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: LocalTriton) -> Iterator[InstaDepth]:
    """A client of that server."""
    with InstaDepth(server.grpc_url, timeout_s=120) as connected:
        yield connected


@pytest.fixture(scope="session")
def face(miniature_checkpoint: Path) -> bytes:
    """The demo's picture of a person, a file's bytes."""
    return (miniature_checkpoint / "pictures" / "face.png").read_bytes()


@pytest.fixture(scope="session")
def pose(miniature_checkpoint: Path) -> bytes:
    """The demo's picture of a pose."""
    return (miniature_checkpoint / "pictures" / "pose.png").read_bytes()


@pytest.fixture(scope="session")
def make(client: InstaDepth, face: bytes, pose: bytes) -> Callable[..., np.ndarray]:
    """Make a picture with the demo's inputs, changed as asked: (H, W, 3) uint8."""

    def generate(**changes: object) -> np.ndarray:
        attributes = dict(face_image=face, pose_image=pose, prompt="photo of a woman in a red dress", seed=7)
        generation = client.generate(**attributes | {"output_format": "png"} | changes)
        return np.asarray(Image.open(io.BytesIO(generation.image)))

    return generate
