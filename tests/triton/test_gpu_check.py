"""The GPU check's own way on a CPU: tiny networks through real Triton; and the stand-in's way of a GPU, by DLPack."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from deploy.local import ON_FREE_PORTS, LocalTriton
from tests.triton import toy_repository

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_every_variant_is_measured_on_a_cpu(tmp_path: Path) -> None:
    rows = "eager,onnxruntime,triton-onnxruntime,orchestration,vae,depth"
    options = f"--device cpu --size tiny --repeats 3 --warm-up 1 --variants {rows}"
    command = [sys.executable, "-m", "benchmarks.gpu_check", *options.split(), "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    rows = {record["row"]: record for record in map(json.loads, lines)}
    served = rows["triton-onnxruntime"]["measured"]
    assert served["difference"] < 1e-4
    assert served["triton_ms"] == served["step_ms"] - rows["onnxruntime"]["measured"]["step_ms"]
    assert rows["eager"]["measured"]["eager_ratio"] == 1
    assert 0 < rows["orchestration"]["measured"]["step_ms"] < served["step_ms"]
    assert rows["vae"]["measured"]["difference"] == rows["depth"]["measured"]["difference"] == 0
    assert "Triton, ONNX Runtime" in done.stdout


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.InferenceServerClient]:
    """Toys whose engines exchange tensors as they do on a GPU."""
    toys = toy_repository.make(tmp_path_factory.mktemp("dlpack"))
    for file in toys.glob("*/1/model.onnx"):
        with (file.parents[1] / "config.pbtxt").open("a") as config:
            for name in ("exchange_by_dlpack", "FORCE_CPU_ONLY_INPUT_TENSORS"):
                config.write(f'parameters {{ key: "{name}" value {{ string_value: "no" }} }}\n')
    with LocalTriton(toys, ON_FREE_PORTS) as server, triton.InferenceServerClient(server.grpc_url) as connected:
        yield connected


def infer(client: triton.InferenceServerClient, model: str, **arrays: np.ndarray) -> triton.InferResult:
    inputs = []
    for name, array in arrays.items():
        inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    return client.infer(model, inputs)


def test_every_type_travels_by_dlpack(client: triton.InferenceServerClient) -> None:
    sent = {
        "half": np.array([[[0.5, -2], [3, 4], [65504, 6e-5]]], np.float16),
        "long": np.array([[[1, -(2**62)], [3, 4], [5, 6]]], np.int64),
        "byte": np.array([[[0, 255], [3, 4], [5, 6]]], np.uint8),
        "flag": np.array([[[True, False], [False, True], [True, True]]]),
    }
    result = infer(client, "types", **sent)
    for name, array in sent.items():
        received = result.as_numpy(f"{name}_out")
        assert received.dtype == array.dtype
        np.testing.assert_array_equal(received, array)


def test_requests_are_joined_on_the_device_and_each_gets_its_own_rows(client: triton.InferenceServerClient) -> None:
    def ask(index: int) -> np.ndarray:
        rows = np.full((1 + index % 2, 3), index, np.float32)
        return infer(client, "adder", a=rows, b=2 * rows).as_numpy("sum")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    for index, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, np.full((1 + index % 2, 3), 3 * index, np.float32))
    stats = client.get_inference_statistics("adder", as_json=True)["model_stats"][0]
    assert int(stats["execution_count"]) < 6


def test_one_bad_request_of_a_joined_batch_fails_alone(client: triton.InferenceServerClient) -> None:
    def ask(row: int) -> float | None:
        try:
            return float(infer(client, "table", row=np.array([[row]])).as_numpy("value").item())
        except InferenceServerException:
            return None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, [0, 1, 7, 2])) == [10, 20, None, 30]


def test_an_ensemble_hands_tensors_from_engine_to_engine(client: triton.InferenceServerClient) -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    result = infer(client, "sum_then_scale", a=a, b=a, factor=np.array([[2], [3]], np.float32))
    np.testing.assert_array_equal(result.as_numpy("scaled"), 2 * a * [[2], [3]])
