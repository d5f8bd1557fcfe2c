"""Fixtures of the gateway's tests."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from insta_depth_gateway.accounts import connect, migrate
from PIL import Image
from sqlalchemy import Engine

from benchmarks.soak.postgres import create_database, find_programs, running_server
from deploy.local.server import LocalTriton
from tests.gateway.live import LiveGateway, make_key


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running_server(programs) as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'accounts.db'}"
    return create_database(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A fresh database with its tables."""
    engine = connect(database_url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def gateway(server: LocalTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """A gateway in front of the live server, with its accounts in SQLite."""
    folder = tmp_path_factory.mktemp("gateway")
    with LiveGateway(server.grpc_url, f"sqlite:///{folder / 'accounts.db'}", folder / "log") as running:
        yield running


@pytest.fixture(scope="session")
def body(face: bytes, pose: bytes) -> dict[str, Any]:
    """A JSON body with the documented attributes, quick to serve."""
    return {
        "prompt": "Photo of a woman wearing a Superman costume",
        "face_image": base64.b64encode(face).decode(),
        "pose_image": base64.b64encode(pose).decode(),
        "num_inference_steps": 4,
        "guidance_scale": 1,
        "seed": 354849415,
    }


@pytest.fixture
def key(gateway: LiveGateway, request: pytest.FixtureRequest) -> str:
    """The secret of a key of this test's own, with 1000 credits."""
    return make_key(gateway.database_url, request.node.name[:100])


@pytest.fixture
def post(gateway: LiveGateway, key: str, body: dict[str, Any]) -> Callable[..., requests.Response]:
    """Post the body, changed as asked, with the test's key."""

    def send(path: str = "/v1/insta-depth", headers: dict[str, str] | None = None, **changes: Any) -> requests.Response:
        return requests.post(
            gateway.url + path, json=body | changes, headers={"x-api-key": key} | (headers or {}), timeout=120
        )

    return send


@pytest.fixture(scope="session")
def faceless() -> str:
    """A picture without a face, in base64."""
    buffer = io.BytesIO()
    Image.new("RGB", (200, 160), (90, 120, 60)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
