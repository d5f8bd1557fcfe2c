"""A hub on this machine."""

from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from tests.unit.export.fetching import NEW, OLD, WEIGHTS
from tests.unit.export.hub_stand_in import StandIn, serving


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub with one small source; huggingface_hub writes 10 MB at a time, and less is lost where a line breaks."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    files = {"config.json": b"{}", "README.md": b"words", "model.safetensors": WEIGHTS}
    newer = {"config.json": b'{"newer": 1}', "model.fp16.safetensors": WEIGHTS[:200_000]}
    with serving(StandIn({"somebody/depth": {OLD: files, NEW: newer}})) as running:
        yield running
