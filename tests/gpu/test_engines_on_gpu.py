"""The exported engines on a GPU give what they give on the CPU; skipped, with the reason, where there is none."""

import numpy as np
import onnxruntime as ort
import pytest

from export.checkpoint import Checkpoint
from export.engines import engine_table, sample_inputs, step_engine_names
from export.facts import read_facts

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers(),
    reason="needs a CUDA GPU and onnxruntime-gpu",
)


@pytest.mark.parametrize("name", step_engine_names())
def test_an_engine_of_the_step_agrees_with_the_cpu(miniature_checkpoint, miniature_repository, name):
    engine = engine_table(read_facts(Checkpoint.at(miniature_checkpoint)))[name]
    inputs = sample_inputs(engine, engine.sizes[0], np.dtype(np.float32))
    path = miniature_repository / name / "1" / "model.onnx"
    on_cpu, on_gpu = (
        ort.InferenceSession(path, providers=[provider]).run(None, inputs)
        for provider in ("CPUExecutionProvider", "CUDAExecutionProvider")
    )
    for cpu, gpu in zip(on_cpu, on_gpu, strict=True):
        assert np.abs(cpu - gpu).max() <= 1e-2 * np.abs(cpu).max()
