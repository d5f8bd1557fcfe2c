"""The memory that serving takes on a GPU: told by the builder, summed, and turned into the rows of a step."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu_check.networks import engines
from benchmarks.gpu_check.options import Options
from deploy.docker.serve_triton import cuda_pool_bytes
from export.engines import Engine, step_engine_names
from export.errors import ExportError
from export.plans.memory import EngineMemory, Memory, PlanMemory, buffer_bytes, estimate, pool_bytes, report
from export.tensors import ROWS, Axis, Tensor
from tests.unit.plans.conftest import make_plans

GIB = 2**30
SDXL = engines(Options(device="cpu", size="full"))
LARGEST = {"rows": (1, 2, 16), "height": (10, 20, 20), "width": (10, 15, 20), "tokens": (77, 77, 616)}


def memory(total_gib: float) -> Memory:
    return Memory((EngineMemory("unet", PlanMemory(int(total_gib * GIB), 0), 0),), pool=0, processes=0)


def test_the_sum_names_the_gpus_that_hold_it() -> None:
    engine = EngineMemory("unet", PlanMemory(weights=6 * GIB, activations=8 * GIB), buffers=GIB)
    told, where = report(Memory((engine, engine), pool=3 * GIB, processes=2 * GIB))
    assert told == (
        "GPU memory: weights 12.0 + activations 16.0 + inputs and outputs 2.0 + CUDA pool 3.0 + contexts 2.0 = 35.0 GiB"
    )
    assert where == "fits GPUs of 40, 48, 80 GB"
    assert report(memory(75))[1] == "fits no GPU of up to 80 GB"


@pytest.mark.parametrize(("gib", "gb"), [(22.3, 24), (37.1, 40), (44.6, 48), (74.3, 80)])
def test_a_gpu_holds_a_little_less_than_its_name_says(gib: float, gb: int) -> None:
    assert memory(gib).fits(gb)
    assert not memory(gib * 1.01).fits(gb)


def test_inputs_and_outputs_are_as_large_as_a_profile_allows() -> None:
    inputs = (Tensor("a", (ROWS, 4, Axis("height", 8)), "int64"), Tensor("b", (2,)))
    engine = Engine("e", inputs, (Tensor("c", (ROWS, 3)),))
    ranges = {"rows": (1, 2, 4), "height": (1, 2, 5)}
    one = 4 * 4 * 8 * 5 * 8 + 2 * 2 + 4 * 3 * 2
    assert buffer_bytes(engine, [ranges], np.dtype(np.float16)) == one
    assert buffer_bytes(engine, [ranges, ranges], np.dtype(np.float16)) == 2 * one


def test_the_pool_is_what_the_server_starts_with() -> None:
    step = {name: SDXL[name] for name in step_engine_names()}
    counted = pool_bytes(step, LARGEST, np.dtype(np.float16))
    assert counted <= cuda_pool_bytes(16) <= 1.2 * counted


def test_an_estimate_grows_with_rows_and_size() -> None:
    def of(rows: int, cells: int) -> int:
        sides = {"height": (1, cells, cells), "width": (1, cells, cells)}
        return estimate("unet", [{**LARGEST, **sides, "rows": (1, 2, rows)}], is_fp32=False)

    assert of(8, 20) == pytest.approx(2 * of(4, 20), rel=1e-6)
    assert of(8, 20) == pytest.approx(4 * of(8, 10), rel=1e-6)


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu12")
@pytest.mark.slow
def test_the_builder_tells_of_weights_and_activations(miniature_repository: Path, tmp_path: Path) -> None:
    """In a process of its own: polygraphy takes one TensorRT, and other tests may have chosen the other."""
    import subprocess
    import sys

    ended = subprocess.run(
        [sys.executable, "-c", _BUILD, str(miniature_repository)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    weights, activations, larger = map(int, ended.stdout.split())
    file_bytes = (miniature_repository / "vae_decoder" / "1" / "model.onnx").stat().st_size
    assert 0.8 * file_bytes < weights < 1.3 * file_bytes
    assert 2 < larger / activations < 8, "four times the pixels"


_BUILD = """
import sys
from pathlib import Path
from export.engines import engine_table
from export.facts import load_facts
from export.plans.build import Builder
from export.plans.tensorrt_module import use_tensorrt_rtx
from export.precision import Precision

use_tensorrt_rtx()
repository = Path(sys.argv[1])
engine = engine_table(load_facts(repository / "facts.json"))["vae_decoder"]
onnx = repository / "vae_decoder" / "1" / "model.onnx"
told = []
for cells in (2, 4):
    ranges = {"rows": (1, 1, 1), "height": (1, cells, cells), "width": (1, cells, cells)}
    plan = Builder(compute_capabilities=((8, 9),)).build(engine, onnx, Precision.FP32.io_dtype, [ranges])
    told.append(plan.memory)
print(told[0].weights, told[0].activations, told[1].activations)
"""


def test_the_rows_follow_from_the_memory_that_is_given(miniature_repository: Path, tmp_path: Path) -> None:
    most = [make_plans(miniature_repository, tmp_path, gpu_memory_gb=gb).batch for gb in (6, 80)]
    assert most[1] == (1, 2, 16)
    assert most[0] is not None
    assert 2 <= most[0][2] <= 16


def test_what_cannot_fit_is_refused(miniature_repository: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"--gpu-memory: 2 rows of a step need about [\d.]+ GiB, a GPU of 1 GB has 0.9"
    ):
        make_plans(miniature_repository, tmp_path, gpu_memory_gb=1)
    with pytest.raises(ExportError, match="--gpu-memory: 16 rows"):
        make_plans(miniature_repository, tmp_path, gpu_memory_gb=2, batch=(1, 2, 16))
