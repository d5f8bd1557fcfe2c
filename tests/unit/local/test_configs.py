from pathlib import Path

import pytest

from deploy.local.configs import are_complete
from tests.triton import toy_repository


def test_a_python_model_s_configuration_is_complete_and_an_engine_s_policy_is_not(tmp_path: Path) -> None:
    toy_repository.make_lone(tmp_path)
    assert are_complete(tmp_path)
    toy_repository.model(tmp_path, "adder", 'name: "adder"\nmax_batch_size: 8\n')
    assert not are_complete(tmp_path)


@pytest.mark.parametrize("config", [b"input [ {", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_left_to_triton(tmp_path: Path, config: bytes) -> None:
    version = toy_repository.model(tmp_path, "broken", "")
    (version.parent / "config.pbtxt").write_bytes(config)
    assert not are_complete(tmp_path)


def test_what_the_export_writes_is_complete(miniature_repository: Path) -> None:
    assert are_complete(miniature_repository)
