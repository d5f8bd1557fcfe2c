"""The Triton adapter of `prompt_encoding`: tensors in, tensors out."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils
from prompt_encoding import EncodedPrompt, PromptEncoder

from insta_depth_shared.bls import Bls
from insta_depth_shared.errors import InstaDepthError, InvalidInput
from insta_depth_shared.manifest import Manifest


class TritonPythonModel:
    """The model ``prompt_encoder``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the manifest and the tokenizers beside this file."""
        folder = Path(__file__).parent
        facts = Manifest.load(folder).text
        self._encoder = PromptEncoder.from_folder(Bls(pb_utils).call_now, folder, facts)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; an invalid one fails by itself."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        try:
            return _response(self._encoder.encode(_text(request), _min_windows(request)))
        except InstaDepthError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))


def _text(request: Any) -> str:
    tensor = pb_utils.get_input_tensor_by_name(request, "text")
    if tensor is None:
        raise InvalidInput("text: is missing")
    try:
        return tensor.as_numpy()[0].decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"text: is not UTF-8: {error.reason} at byte {error.start}") from error


def _min_windows(request: Any) -> int:
    tensor = pb_utils.get_input_tensor_by_name(request, "min_windows")
    return 1 if tensor is None else int(tensor.as_numpy()[0])


def _response(encoded: EncodedPrompt) -> Any:
    tensors = [pb_utils.Tensor(field.name, getattr(encoded, field.name)) for field in fields(encoded)]
    return pb_utils.InferenceResponse(tensors)
