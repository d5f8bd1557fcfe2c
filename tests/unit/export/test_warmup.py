"""Every exported engine is warmed up with what it takes, at the sizes of most pictures."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.engines import Engine, engine_table
from export.facts import load_facts
from export.repository import FACTS


@pytest.fixture(scope="module")
def table(miniature_repository: Path) -> dict[str, Engine]:
    return engine_table(load_facts(miniature_repository / FACTS))


def config(repository: Path, name: str) -> ModelConfig:
    return text_format.Parse((repository / name / "config.pbtxt").read_text(), ModelConfig())


def test_each_engine_has_a_request_of_all_its_inputs(table: dict[str, Engine], miniature_repository: Path) -> None:
    for name, engine in table.items():
        (warmup,) = config(miniature_repository, name).model_warmup
        assert set(warmup.inputs) == {tensor.name for tensor in engine.inputs}, name
        assert all(part.zero_data for part in warmup.inputs.values()), name


def test_the_unet_is_warmed_up_by_a_guided_request(miniature_repository: Path) -> None:
    (warmup,) = config(miniature_repository, "unet").model_warmup
    assert warmup.batch_size == 2
    assert list(warmup.inputs["sample"].dims) == [4, 24, 16], "192×128 px, upright"
    assert list(warmup.inputs["encoder_hidden_states"].dims) == [77, 128]
    assert warmup.inputs["timestep"].data_type == DataType.Value("TYPE_FP32")


def test_where_triton_does_not_batch_the_shape_is_whole(miniature_repository: Path) -> None:
    (warmup,) = config(miniature_repository, "face_detector").model_warmup
    assert warmup.batch_size == 1, "Triton skips 0"
    assert list(warmup.inputs["image"].dims) == [1, 3, 640, 640]


def test_a_warm_up_has_no_more_rows_than_the_engine_takes(miniature_repository: Path) -> None:
    for name in ("vae_decoder", "depth_estimator"):
        (warmup,) = config(miniature_repository, name).model_warmup
        assert warmup.batch_size == config(miniature_repository, name).max_batch_size == 1
