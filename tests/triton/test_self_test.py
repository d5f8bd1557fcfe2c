"""An engine whose every call fails until its process is another one, as in a process whose GPU context is broken."""

import shutil
from pathlib import Path

import pytest
from insta_depth import EngineFailed, InstaDepth, InstaDepthError

from benchmarks.soak.processes import model_process
from deploy.local.server import ON_FREE_PORTS, LocalTriton
from tests.watching import wait_until

BROKEN = "illegal memory access"
PROJECTOR = f"""
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self._came_later = Path("FLAG").exists()

    def execute(self, requests):
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        if Path("FLAG").exists() and not self._came_later:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("{BROKEN}"))
        faces = pb_utils.get_input_tensor_by_name(request, "face_emb").as_numpy()
        tokens = np.zeros((len(faces), 16, 128), np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("prompt_image_emb", tokens)])
"""


@pytest.mark.long
def test_engines_that_fail_for_good_start_anew(miniature_repository: Path, tmp_path: Path, face: bytes, pose: bytes):
    flag, ask = tmp_path / "broken", {"face_image": face, "pose_image": pose, "prompt": "a", "num_inference_steps": 4}
    with LocalTriton(_fragile(miniature_repository, tmp_path, flag), ON_FREE_PORTS) as server:
        with InstaDepth(server.grpc_url, timeout_s=120) as client:
            assert client.generate(**ask).image
            process = model_process(server.pid, "insta_depth_stream")
            flag.touch()
            with pytest.raises(EngineFailed, match=BROKEN):
                client.generate(**ask)
            wait_until(lambda: not process.is_running(), timeout_s=90)
            wait_until(lambda: _makes_a_picture(client, ask), timeout_s=120)
        assert "the engines do not answer any more" in server.log_path.read_text()


def _fragile(repository: Path, folder: Path, flag: Path) -> Path:
    copy = shutil.copytree(repository, folder / "fragile", ignore=shutil.ignore_patterns("__pycache__"))
    config, model = copy / "identity_projector" / "config.pbtxt", copy / "identity_projector" / "1" / "model.py"
    config.write_text(config.read_text().replace('backend: "onnxruntime"', 'backend: "python"'))
    model.write_text(PROJECTOR.replace("FLAG", str(flag)))
    return copy


def _makes_a_picture(client: InstaDepth, ask: dict) -> bool:
    try:
        return bool(client.generate(**ask).image)
    except InstaDepthError:
        return False
