"""Fixtures of the client's tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import pytest

from tests.unit.client.triton_lookalike import TritonLookalike


class Pictures(TypedDict):
    """The two attributes that most tests leave as they are."""

    face_image: bytes
    pose_image: bytes


PICTURES: Pictures = {"face_image": b"a face", "pose_image": b"a pose"}


@pytest.fixture
def server() -> Iterator[TritonLookalike]:
    lookalike = TritonLookalike()
    yield lookalike
    lookalike.stop()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with face.jpg and pose.jpg in it."""
    (tmp_path / "face.jpg").write_bytes(PICTURES["face_image"])
    (tmp_path / "pose.jpg").write_bytes(PICTURES["pose_image"])
    return tmp_path
