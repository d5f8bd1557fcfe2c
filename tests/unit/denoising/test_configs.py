"""config.pbtxt of both models against the table that the code validates with."""

from pathlib import Path

import pytest
from denoising import ATTRIBUTES
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

MODELS = Path(__file__).parents[3] / "model_repository"


def config(model: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse((MODELS / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("model", ["insta_depth", "insta_depth_stream"])
def test_the_inputs_are_the_attributes_of_a_request(model: str) -> None:
    inputs = {tensor.name: model_config_pb2.DataType.Name(tensor.data_type) for tensor in config(model).input}
    assert inputs == {attribute.name: attribute.triton_type for attribute in ATTRIBUTES}
    assert all(tensor.optional and list(tensor.dims) == [1] for tensor in config(model).input)


def test_both_models_answer_alike_but_for_progress() -> None:
    unary = {tensor.name: tensor.data_type for tensor in config("insta_depth").output}
    stream = {tensor.name: tensor.data_type for tensor in config("insta_depth_stream").output}
    assert set(stream) - set(unary) == {"step", "num_inference_steps", "preview"}
    assert unary.items() <= stream.items()


def test_only_the_stream_is_decoupled() -> None:
    assert config("insta_depth_stream").model_transaction_policy.decoupled
    assert not config("insta_depth").model_transaction_policy.decoupled


def test_there_is_one_batcher() -> None:
    assert [group.count for group in config("insta_depth_stream").instance_group] == [1]
