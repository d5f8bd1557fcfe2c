"""Requests and responses as Triton's gRPC messages."""

import json
from typing import Any

import numpy as np
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor

from insta_depth._errors import InstaDepthError, ServerUnavailable, from_text
from insta_depth._generation import SEVERAL, Response
from insta_depth._request import GenerationRequest
from insta_depth._transport import Capabilities

MODEL = "insta_depth_stream"
"""The decoupled model that answers with progress and then the picture."""

MODELS = (MODEL, "insta_depth")
"""The models that a server must have."""


def to_message(request: GenerationRequest) -> service_pb2.ModelInferRequest:
    """Return the message that asks for ``request``, with pictures raw in both directions (no base64)."""
    message = service_pb2.ModelInferRequest(model_name=MODEL)
    for name, (datatype, array) in request.tensors().items():
        _add_input(message, name, datatype, array)
    _add_input(message, "base64", "BOOL", np.array([False]))
    return message


def _add_input(message: service_pb2.ModelInferRequest, name: str, datatype: str, array: np.ndarray) -> None:
    message.inputs.add(name=name, datatype=datatype, shape=array.shape)
    content = serialize_byte_tensor(array).item() if datatype == "BYTES" else array.tobytes()
    message.raw_input_contents.append(content)


def from_message(message: service_pb2.ModelStreamInferResponse) -> Response:
    """Return a message's outputs, or raise its error."""
    if message.error_message:
        raise from_text(message.error_message)
    result = InferResult(message.infer_response)
    return {output.name: _value(result, output.name) for output in message.infer_response.outputs}


def probe_message() -> service_pb2.ModelInferRequest:
    """Return a request without attributes: a live model rejects it at once."""
    return service_pb2.ModelInferRequest(model_name=MODEL)


def loss(answer: service_pb2.ModelStreamInferResponse | None) -> InstaDepthError | None:
    """Return why the model cannot be called, judging by its ``answer`` to a probe; None if it can."""
    if answer is None or not answer.error_message:
        return None
    error = from_text(answer.error_message)
    return error if isinstance(error, ServerUnavailable) else None


def config_message() -> service_pb2.ModelConfigRequest:
    """Return the request for the model's configuration, in which export states what the checkpoint offers."""
    return service_pb2.ModelConfigRequest(name=MODEL)


def capabilities_in(answer: service_pb2.ModelConfigResponse) -> Capabilities:
    """Read the capabilities from the model's configuration."""
    said = {name: parameter.string_value for name, parameter in answer.config.parameters.items()}
    names = (name.strip() for name in said.get("schedulers", "").split(","))
    defaults = json.loads(said.get("defaults", "{}"))
    return Capabilities(tuple(name for name in names if name), said.get("default_scheduler"), defaults)


def _value(result: InferResult, name: str) -> Any:
    """A list of what may be several; all other outputs have one element: a Python number, bool or bytes."""
    array = result.as_numpy(name)
    return array.tolist() if name == SEVERAL else array.item()
