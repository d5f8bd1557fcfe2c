"""The same models and engines without Triton: plain calls in one process.

The orchestrator's logic, the two Python models' logic and the wiring of the ensemble are those of the repository;
only what carries tensors between them differs.
"""

import asyncio
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from insta_depth_shared.attributes import ATTRIBUTES

from .checkpoint.files import check_readable, first_line, read_object
from .errors import ExportError

Arrays = dict[str, np.ndarray]
Inputs = Mapping[str, Any]
"""Arrays or torch's tensors by name."""
RunEngine = Callable[[Arrays, Sequence[str]], Arrays]
"""An engine's inputs by name and the wanted outputs' names → these outputs."""
_PYTHON_MODELS = ("insta_depth_stream", "face_analysis", "prompt_encoder")


def onnx_engine(folder: Path) -> RunEngine:
    """Open ``model.onnx`` in an engine's version folder, on the GPU where ONNX Runtime has one.

    The options are the stand-in backend's. Raises `ExportError` where it can't.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in ort.get_available_providers()]
    path = folder / "model.onnx"
    check_readable(path)
    try:
        session = ort.InferenceSession(path, options, providers=providers)
    except Exception as error:  # ONNX Runtime has many
        raise ExportError(f"{path} cannot be opened by ONNX Runtime: {first_line(error)}") from error

    def run(inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        return dict(zip(outputs, session.run(list(outputs), inputs), strict=True))

    return run


class InProcess:
    """Runs the models of ``repository`` by name: engines as ``open_engine`` opens them, ensembles step by step."""

    def __init__(self, repository: Path, open_engine: Callable[[Path], RunEngine] = onnx_engine) -> None:
        self._repository = repository
        self._open_engine = open_engine
        self._engines: dict[str, RunEngine] = {}
        self._ensembles: dict[str, Any] = {}

    async def call(self, model: str, inputs: Inputs, outputs: Sequence[str]) -> Arrays:
        """Do as `call_now` does, where the caller is a coroutine."""
        return self.call_now(model, inputs, outputs)

    async def call_on(
        self, device: torch.device, model: str, inputs: Inputs, outputs: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """Do as `call` does, and return tensors on ``device``."""
        answer = self.call_now(model, inputs, outputs)
        return {name: torch.from_numpy(array).to(device) for name, array in answer.items()}

    def call_now(self, model: str, inputs: Inputs, outputs: Sequence[str]) -> Arrays:
        """Run ``model`` once and return its ``outputs`` by name."""
        arrays = {name: _on_host(value) for name, value in inputs.items()}
        python_models: dict[str, Callable[[Arrays], Arrays]] = {
            "face_analysis": self._analyse_face,
            "prompt_encoder": self._encode_prompt,
        }
        if model in python_models:
            return python_models[model](arrays)
        if "ensemble_scheduling" in (self._repository / model / "config.pbtxt").read_text(encoding="utf-8"):
            return self._run_ensemble(model, arrays, outputs)
        return self._run_engine(model, arrays, outputs)

    def _run_engine(self, model: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        if model not in self._engines:
            self._engines[model] = self._open_engine(self._repository / model / "1")
        return self._engines[model](inputs, outputs)

    def _run_ensemble(self, model: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        """Run the steps in the order of the file, which is one in which each has its inputs."""
        if model not in self._ensembles:
            text = (self._repository / model / "config.pbtxt").read_text(encoding="utf-8")
            self._ensembles[model] = text_format.Parse(text, model_config_pb2.ModelConfig()).ensemble_scheduling
        known = dict(inputs)
        for step in self._ensembles[model].step:
            taken = {name: known[outer] for name, outer in step.input_map.items()}
            made = self.call_now(step.model_name, taken, list(step.output_map))
            known |= {outer: made[name] for name, outer in step.output_map.items()}
        return {name: known[name] for name in outputs}

    def _analyse_face(self, inputs: Arrays) -> Arrays:
        return _fields(self._analyst.analyse(inputs["image"]))

    def _encode_prompt(self, inputs: Arrays) -> Arrays:
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


def make_pipeline(repository: Path, networks: InProcess | None = None) -> Any:
    """Return the orchestrator's `Pipeline` over engines in this process, by ONNX Runtime unless told otherwise."""
    from denoising import DepthProcessor, Metrics, Pipeline, Settings

    processor = DepthProcessor(repository / "insta_depth_stream" / "1" / "depth_processor")
    networks = networks or InProcess(repository)
    return Pipeline(networks, manifest(repository), Settings(), processor, Metrics(), torch.device("cpu"))


def generate(pipeline: Any, attributes: Mapping[str, Any]) -> Any:
    """Make one picture, as the file's bytes; ``attributes`` by their names in the API, pictures as bytes."""
    dtypes = {each.name: triton_to_np_dtype(each.triton_type.removeprefix("TYPE_")) for each in ATTRIBUTES}
    values = {**attributes, "base64": False}
    tensors: Arrays = {name: np.array(_elements(value), dtypes[name]) for name, value in values.items()}
    return asyncio.run(pipeline.generate(tensors, NullListener()))


class NullListener:
    """A `ProgressListener` that never cancels and ignores progress."""

    def is_cancelled(self) -> bool:
        """Never."""
        return False

    def on_progress(self, progress: Any) -> None:
        """Let progress pass."""


def manifest(repository: Path) -> Any:
    """The checkpoint's facts; raises `ExportError` where ``repository`` has none that this version wrote."""
    from insta_depth_shared.manifest import FILE_NAME, Manifest

    path = repository / "insta_depth_stream" / "1" / FILE_NAME
    read_object(path)  # names a file that is missing or no JSON
    try:
        return Manifest.load(path.parent)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(f"{path} is no manifest of this version: export the checkpoint again") from error


def _elements(value: Any) -> list[Any]:
    several = value if isinstance(value, list | tuple) else [value]
    return [each.encode() if isinstance(each, str) else each for each in several]


def _on_host(value: Any) -> np.ndarray:
    return value.numpy(force=True) if isinstance(value, torch.Tensor) else value


def _fields(answer: Any) -> Arrays:
    return {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
