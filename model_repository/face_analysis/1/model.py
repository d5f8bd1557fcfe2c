"""The Triton adapter of `face_finding`: tensors in, tensors out."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils
from face_finding import FaceAnalysis, FaceAnalyst

from insta_depth_shared.bls import Bls
from insta_depth_shared.errors import InstaDepthError
from insta_depth_shared.manifest import Manifest


class TritonPythonModel:
    """The model ``face_analysis``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the manifest beside this file."""
        manifest = Manifest.load(Path(__file__).parent)
        self._analyst = FaceAnalyst(Bls(pb_utils).call_now, manifest.face)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; an invalid one fails by itself."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        try:
            return _response(self._analyst.analyse(image))
        except InstaDepthError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))


def _response(analysis: FaceAnalysis) -> Any:
    tensors = [pb_utils.Tensor(field.name, getattr(analysis, field.name)) for field in fields(analysis)]
    return pb_utils.InferenceResponse(tensors)
