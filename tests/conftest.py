"""Fixtures that several test folders share: checkpoints, one live server, and pictures to send to it."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.server import ON_FREE_PORTS, LocalTriton

ROOT = Path(__file__).parent.parent
MAX_REQUESTS = 8

# Two test processes whose PyTorch each takes every core are slower than one: OpenMP's threads spin while they wait.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the tests themselves ask of servers on this machine (`requests`, Triton's clients) goes past any proxy.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1", "localhost"]))


_MARKS_BY_FIXTURE = {"miniature_repository": "exported", "tiny_checkpoint": "slow"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the exported repository, or a checkpoint that takes seconds to write."""
    for item in items:
        for fixture, mark in _MARKS_BY_FIXTURE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the published layouts, as small as the architecture allows, with an untrained detector."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


def write_tiny_checkpoint(folder: Path, **changes: object) -> Path:
    """Write a checkpoint of the smallest architecture, with fields of its config replaced by ``changes``."""
    from miniature.architecture import CheckpointConfig, UNetConfig, VaeConfig
    from miniature.checkpoint import write_checkpoint
    from miniature.detector import FaceDetector

    config = CheckpointConfig(
        unet=UNetConfig(channels=(16, 32, 32), heads=(1, 2, 2), transformer_layers=(1, 1, 1), layers_per_block=1),
        vae=VaeConfig(channels=(8, 8, 8, 8)),
    )
    write_checkpoint(folder, dataclasses.replace(config, **changes), seed=3, detector=FaceDetector())
    return folder


@pytest.fixture(scope="session")
def miniature_checkpoint() -> Path:
    """The trained checkpoint that ``make demo`` and ``make test`` export."""
    return ROOT / "miniature" / "weights"


@pytest.fixture(scope="session")
def miniature_repository() -> Path:
    """The model repository exported from the miniature checkpoint."""
    folder = ROOT / "build" / "miniature"
    if not folder.exists():
        pytest.fail(f"{folder} is missing: `make test` makes it")
    return folder


@pytest.fixture(scope="session")
def server(miniature_repository: Path) -> Iterator[LocalTriton]:
    """Real Triton with the miniature checkpoint."""
    settings = {"INSTA_DEPTH_MAX_REQUESTS": str(MAX_REQUESTS)}
    with LocalTriton(miniature_repository, ON_FREE_PORTS, environment=settings) as running:
        yield running


@pytest.fixture(scope="session")
def face(miniature_checkpoint: Path) -> bytes:
    """The demo's picture of a person, a file's bytes."""
    return (miniature_checkpoint / "pictures" / "face.png").read_bytes()


@pytest.fixture(scope="session")
def pose(miniature_checkpoint: Path) -> bytes:
    """The demo's picture of a pose."""
    return (miniature_checkpoint / "pictures" / "pose.png").read_bytes()
