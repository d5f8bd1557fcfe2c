"""The client sends what the server's models take: names, datatypes and kinds of every attribute."""

from dataclasses import fields
from pathlib import Path

import pytest
from google.protobuf import text_format
from insta_depth import GenerationRequest
from tritonclient.grpc import model_config_pb2

REPOSITORY = Path(__file__).parents[2] / "model_repository"


@pytest.mark.parametrize("model", ["insta_depth_stream", "insta_depth"])
def test_the_clients_attributes_are_the_inputs_of_the_model(model: str) -> None:
    config = model_config_pb2.ModelConfig()
    text_format.Parse((REPOSITORY / model / "config.pbtxt").read_text(), config)
    taken = {each.name: model_config_pb2.DataType.Name(each.data_type) for each in config.input}
    sent = {each.name: triton_name(each.metadata["datatype"]) for each in fields(GenerationRequest)}
    assert sent | {"base64": "TYPE_BOOL"} == taken


def triton_name(datatype: str) -> str:
    """Return the name in a ``config.pbtxt`` of a datatype on the wire."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
