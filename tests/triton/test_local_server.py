"""The local server on a repository of toys: real Triton, the stand-in engines, start and stop."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from deploy.local import ON_FREE_PORTS, LocalTriton, runtime, wheel
from deploy.local.errors import PortTaken, StartFailed
from tests.triton import toy_repository
from tests.watching import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_repository.make(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def lone_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that starts fast."""
    return toy_repository.make_lone(tmp_path_factory.mktemp("lone"))


@pytest.fixture(scope="module")
def server(toys: Path) -> Iterator[LocalTriton]:
    with LocalTriton(toys, ON_FREE_PORTS, environment={"INSTA_DEPTH_TOY": "passed on"}) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: LocalTriton) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_url) as connected:
        yield connected


def infer(client: triton.InferenceServerClient, model: str, **arrays: np.ndarray) -> triton.InferResult:
    inputs = []
    for name, array in arrays.items():
        inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    return client.infer(model, inputs)


def rows(count: int, width: int = 3, start: float = 0) -> np.ndarray:
    return np.arange(start, start + count * width, dtype=np.float32).reshape(count, width)


def completed(client: triton.InferenceServerClient, model: str) -> tuple[int, dict[str, tuple[str, list[int]]]]:
    config = client.get_model_config(model, as_json=True)["config"]
    tensors = [*config["input"], *config["output"]]
    by_name = {tensor["name"]: (tensor["data_type"], [int(dim) for dim in tensor["dims"]]) for tensor in tensors}
    return int(config.get("max_batch_size", 0)), by_name


def test_a_batching_engine_is_completed_without_its_first_dimension(client: triton.InferenceServerClient) -> None:
    width = ("TYPE_FP32", [-1])
    assert completed(client, "adder") == (8, {"a": width, "b": width, "sum": width})


def test_an_engine_of_fixed_batch_keeps_all_dimensions_and_types(client: triton.InferenceServerClient) -> None:
    batch, tensors = completed(client, "types")
    kinds = {"half": "TYPE_FP16", "long": "TYPE_INT64", "byte": "TYPE_UINT8", "flag": "TYPE_BOOL"}
    assert batch == 0
    assert tensors == {f"{name}{end}": (kind, [1, 3, -1]) for end in ("", "_out") for name, kind in kinds.items()}


def test_every_type_travels_unchanged(client: triton.InferenceServerClient) -> None:
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


def test_an_ensemble_of_engines_answers(client: triton.InferenceServerClient) -> None:
    a, b, factor = rows(2), rows(2, start=10), np.array([[2], [3]], np.float32)
    scaled = infer(client, "sum_then_scale", a=a, b=b, factor=factor).as_numpy("scaled")
    np.testing.assert_array_equal(scaled, (a + b) * factor)


def test_large_tensors_travel(client: triton.InferenceServerClient) -> None:
    a = np.random.default_rng(0).standard_normal((8, 300_000), np.float32)
    np.testing.assert_array_equal(infer(client, "adder", a=a, b=a).as_numpy("sum"), 2 * a)


def test_text_and_settings_reach_a_python_model(client: triton.InferenceServerClient) -> None:
    text = np.array(["grüße".encode(), b"", b"\x00\xff" * 1000], dtype=object)
    result = infer(client, "reader", text=text)
    assert result.as_numpy("text_out").tolist() == text.tolist()
    assert result.as_numpy("setting").tolist() == [b"passed on"]


def test_arrays_of_any_layout_leave_a_python_model_unchanged(client: triton.InferenceServerClient) -> None:
    result = infer(client, "reader", text=np.array([b""], dtype=object))
    assert result.as_numpy("strided").tolist() == [[0, 3], [1, 4], [2, 5]]
    assert result.as_numpy("empty").shape == (0,)
    assert result.as_numpy("read_only").tobytes() == b"abc"


def test_requests_are_batched_and_each_gets_its_own_rows(client: triton.InferenceServerClient) -> None:
    before = execution_count(client, "adder")
    requests = [rows(1, start=100.0 * index) for index in range(8)]
    with ThreadPoolExecutor(len(requests)) as pool:
        sums = pool.map(lambda a: infer(client, "adder", a=a, b=a).as_numpy("sum"), requests)
        for a, total in zip(requests, sums, strict=True):
            np.testing.assert_array_equal(total, 2 * a)
    assert execution_count(client, "adder") - before < len(requests)


def execution_count(client: triton.InferenceServerClient, model: str) -> int:
    return client.get_inference_statistics(model).model_stats[0].execution_count


def test_an_engines_failure_is_an_error_and_the_engine_lives_on(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="3 by 5"):
        infer(client, "adder", a=rows(1, 3), b=rows(1, 5))
    np.testing.assert_array_equal(infer(client, "adder", a=rows(1), b=rows(1)).as_numpy("sum"), 2 * rows(1))


def test_a_bad_request_does_not_take_its_batch_with_it(client: triton.InferenceServerClient) -> None:
    def lookup(row: int) -> float | None:
        try:
            return infer(client, "table", row=np.array([[row]])).as_numpy("value").item()
        except InferenceServerException:
            return None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lookup, [0, 99, 1, 2])) == [10, None, 20, 30]


def test_progress_ends_with_all_models(lone_toy: Path) -> None:
    seen: list[tuple[int, int]] = []
    with LocalTriton(lone_toy, ON_FREE_PORTS, on_progress=lambda ready, total: seen.append((ready, total))) as server:
        assert len(server.models) == len(list(lone_toy.iterdir()))
    assert seen == sorted(seen)
    assert seen[-1] == (len(server.models), len(server.models))


def test_nothing_is_left_after_a_stop_even_with_a_client_connected(lone_toy: Path) -> None:
    with LocalTriton(lone_toy, ON_FREE_PORTS) as server:
        family = [server.pid, *(child.pid for child in psutil.Process(server.pid).children(recursive=True))]
        regions = shared_memory(server.pid)
        client = triton.InferenceServerClient(server.grpc_url)
        assert client.is_server_ready()
    assert len(family) > len(server.models) - 1
    assert regions
    assert not [pid for pid in family if psutil.pid_exists(pid)]
    assert not [region for region in regions if region.exists()]


def shared_memory(pid: int) -> list[Path]:
    """Regions in /dev/shm that the process has mapped."""
    mapped = {mapping.path for mapping in psutil.Process(pid).memory_maps()}
    return [Path(path) for path in mapped if path.startswith("/dev/shm/")]


def test_a_model_whose_process_is_killed_is_back_soon(lone_toy: Path) -> None:
    with LocalTriton(lone_toy, ON_FREE_PORTS) as server:
        first = server.pid
        (stub,) = psutil.Process(first).children()
        stub.kill()
        wait_until(lambda: server.pid not in (0, first), timeout_s=60)
        with triton.InferenceServerClient(server.grpc_url) as client:
            wait_until(lambda: is_ready(client), timeout_s=60)
            infer(client, "reader", text=np.array([b""], dtype=object))
    assert not psutil.pid_exists(first)


def is_ready(client: triton.InferenceServerClient) -> bool:
    try:
        return client.is_server_ready()
    except InferenceServerException:
        return False


def test_the_server_goes_when_the_process_that_started_it_is_killed(lone_toy: Path) -> None:
    script = (
        "import sys, time; from deploy.local import LocalTriton\n"
        f"with LocalTriton({str(lone_toy)!r}, http_port=0, grpc_port=0, metrics_port=0) as server:\n"
        "    print(server.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    regions = shared_memory(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not psutil.pid_exists(pid) and not any(region.exists() for region in regions), timeout_s=60)
    assert regions


def test_a_second_server_on_the_same_port_says_who_has_it(lone_toy: Path, server: LocalTriton) -> None:
    with (
        pytest.raises(PortTaken) as refused,
        LocalTriton(lone_toy, ON_FREE_PORTS, http_port=server.options.http_port),
    ):
        pass
    assert f"Port {server.options.http_port} (http)" in refused.value.what
    assert f"tritonserver (pid {server.pid})" in refused.value.what


def test_a_path_that_triton_cannot_take_is_served(
    lone_toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a checkout in a folder of such a name: the repository, the backends, the log."""
    strange = tmp_path / "it's a $b; #é\n"
    shutil.copytree(lone_toy, strange / "mödels")
    monkeypatch.setenv(wheel.HOME_VARIABLE, str(wheel.ensure().root))
    monkeypatch.setattr(runtime, "CACHE", strange / "cache")
    monkeypatch.setattr(wheel, "CACHE", strange / "cache")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with LocalTriton(strange / "mödels", ON_FREE_PORTS) as server:
        assert server.is_running()
        assert server.log_path.is_relative_to(strange)
        assert list(tmp_path.glob("insta_depth_*"))
    assert not list(tmp_path.glob("insta_depth_*"))


def test_a_model_that_does_not_load_is_named_with_its_reason(tmp_path: Path) -> None:
    version = toy_repository.model(tmp_path, "broken", 'backend: "python"')
    (version / "model.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(StartFailed, match=r"'broken'.*a_package_that_nobody_has"), LocalTriton(tmp_path, ON_FREE_PORTS):
        pass


@pytest.mark.parametrize(("policy_only", "times"), [(False, 1), (True, 2)])
def test_a_process_is_started_once_where_no_configuration_has_to_be_completed(
    policy_only: bool, times: int, tmp_path: Path
) -> None:
    repository, started = tmp_path / "repository", tmp_path / "started"
    toy_repository.make_lone(repository)
    if policy_only:
        toy_repository.engine(repository, "types", toy_repository.types(), "max_batch_size: 0")
    code = repository / "reader" / "1" / "model.py"
    code.write_text(f"print('here', file=open({str(started)!r}, 'a'))\n{code.read_text()}")
    with LocalTriton(repository, ON_FREE_PORTS):
        assert started.read_text() == times * "here\n"


def test_serve_runs_until_it_is_terminated(lone_toy: Path) -> None:
    command = [sys.executable, "-m", "deploy.local", "serve", str(lone_toy)]
    command += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    serving = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"COLUMNS": "200"}
    )
    assert serving.stderr
    lines = []
    while "Ctrl-C" not in (line := serving.stderr.readline()):
        assert line, f"serve ended: {lines}"
        lines.append(line)
    assert any("gRPC" in line and "127.0.0.1:" in line for line in lines)
    serving.send_signal(signal.SIGTERM)
    assert "Stopped" in serving.communicate(timeout=30)[1]
    assert serving.returncode == 0
