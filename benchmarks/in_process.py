"""The same models and engines without Triton: plain calls in one process.

The orchestrator's logic, the two Python models' logic and the wiring of the ensemble are those of the repository;
only what carries tensors between them differs.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

Arrays = dict[str, np.ndarray]
_PYTHON_MODELS = ("insta_depth_stream", "face_analysis", "prompt_encoder")


class InProcess:
    """Runs the models of ``repository`` by name: engines by ONNX Runtime, ensembles step by step.

    Sessions have the options of the stand-in backend's: as many threads as there are cores, which wait idly.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._ensembles: dict[str, Any] = {}

    async def call(self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        """Do as `call_now` does, where the caller is a coroutine."""
        return self.call_now(model, inputs, outputs)

    def call_now(self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        """Run ``model`` once and return its ``outputs`` by name."""
        python_models: dict[str, Callable[[Mapping[str, np.ndarray]], Arrays]] = {
            "face_analysis": self._analyse_face,
            "prompt_encoder": self._encode_prompt,
        }
        if model in python_models:
            return python_models[model](inputs)
        if (self._repository / model / "1" / "model.onnx").exists():
            return self._run_engine(model, inputs, outputs)
        return self._run_ensemble(model, inputs, outputs)

    def _run_engine(self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        if model not in self._sessions:
            self._sessions[model] = _session(self._repository / model / "1" / "model.onnx")
        return dict(zip(outputs, self._sessions[model].run(list(outputs), dict(inputs)), strict=True))

    def _run_ensemble(self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        """Run the steps in the order of the file, which is one in which each has its inputs."""
        if model not in self._ensembles:
            text = (self._repository / model / "config.pbtxt").read_text()
            self._ensembles[model] = text_format.Parse(text, model_config_pb2.ModelConfig()).ensemble_scheduling
        known = dict(inputs)
        for step in self._ensembles[model].step:
            taken = {name: known[outer] for name, outer in step.input_map.items()}
            made = self.call_now(step.model_name, taken, list(step.output_map))
            known |= {outer: made[name] for name, outer in step.output_map.items()}
        return {name: known[name] for name in outputs}

    def _analyse_face(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        return _fields(self._analyst.analyse(inputs["image"]))

    def _encode_prompt(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        text, min_windows = inputs["text"].item().decode(), inputs["min_windows"].item()
        return _fields(self._encoder.encode(text, min_windows))

    @cached_property
    def _analyst(self) -> Any:
        from face_finding import FaceAnalyst

        return FaceAnalyst(self.call_now, manifest(self._repository).face)

    @cached_property
    def _encoder(self) -> Any:
        from prompt_encoding import PromptEncoder

        folder = self._repository / "prompt_encoder" / "1"
        return PromptEncoder.from_folder(self.call_now, folder, manifest(self._repository).text)


def import_models_of(repository: Path) -> None:
    """Let the Python models' packages be imported from ``repository``, as Triton's stubs do."""
    sys.path[:0] = [str(repository / model / "1") for model in _PYTHON_MODELS]


def make_generation(repository: Path) -> Any:
    """Return the orchestrator's `Generation` over engines in this process."""
    from denoising import DepthProcessor, Generation, Metrics, Settings

    processor = DepthProcessor(repository / "insta_depth_stream" / "1" / "depth_processor")
    return Generation(InProcess(repository), manifest(repository), Settings(), processor, Metrics())


def manifest(repository: Path) -> Any:
    """The checkpoint's facts."""
    from insta_depth_shared.manifest import Manifest

    return Manifest.load(repository / "insta_depth_stream" / "1")


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _fields(answer: Any) -> Arrays:
    return {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
