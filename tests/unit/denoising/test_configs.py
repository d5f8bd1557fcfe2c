"""config.pbtxt of both models against the table that the code validates with."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.triton_configs import request_config
from insta_depth_shared.attributes import ATTRIBUTES

MODELS = Path(__file__).parents[3] / "model_repository"


def source(model: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse((MODELS / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("model", ["insta_depth", "insta_depth_stream"])
def test_the_inputs_are_the_attributes_of_a_request(model: str) -> None:
    assert not source(model).input
    text = request_config(MODELS / model / "config.pbtxt", {"schedulers": "euler"})
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    inputs = {tensor.name: model_config_pb2.DataType.Name(tensor.data_type) for tensor in config.input}
    assert inputs == {attribute.name: attribute.triton_type for attribute in ATTRIBUTES}
    assert all(tensor.optional for tensor in config.input)
    several = {tensor.name for tensor in config.input if list(tensor.dims) == [-1]}
    assert several == {attribute.name for attribute in ATTRIBUTES if attribute.most > 1} == {"face_image"}
    assert all(list(tensor.dims) == [1] for tensor in config.input if tensor.name not in several)
    assert config.parameters["schedulers"].string_value == "euler"


def test_both_models_answer_alike_but_for_progress() -> None:
    unary = {tensor.name: tensor.data_type for tensor in source("insta_depth").output}
    stream = {tensor.name: tensor.data_type for tensor in source("insta_depth_stream").output}
    assert set(stream) - set(unary) == {"step", "num_inference_steps", "preview", "ahead"}
    assert unary.items() <= stream.items()


def test_only_the_stream_is_decoupled() -> None:
    assert source("insta_depth_stream").model_transaction_policy.decoupled
    assert not source("insta_depth").model_transaction_policy.decoupled


def test_there_is_one_batcher() -> None:
    assert [group.count for group in source("insta_depth_stream").instance_group] == [1]
