"""The GPU check's parts, where no GPU is needed: what it builds, counts, derives and says."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_check import artefacts, runner, table, variants
from benchmarks.gpu_check.chips import known_chip, measured_tflops
from benchmarks.gpu_check.flops import step_tflop
from benchmarks.gpu_check.measuring import MemoryWatch, times_ms
from benchmarks.gpu_check.networks import build, design, step_engines
from benchmarks.gpu_check.options import NotHere, Options, parse
from benchmarks.gpu_check.picture import STEPS, Picture, exact_picture, picture_engines, picture_tflop
from benchmarks.gpu_check.step import Step, TorchNetwork, ensemble_config, step_inputs
from benchmarks.gpu_check.torch_networks import eager_network
from benchmarks.records import Measured, Record

TINY = Options(device="cpu", size="tiny", repeats=2, warm_up=1)
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(("depth_net", "depth_tflop"), [("full", 3.02), ("small", 0.57)])
def test_a_row_of_the_full_size_is_as_much_work_as_the_design_says(depth_net: str, depth_tflop: float) -> None:
    a_pair = step_tflop(Options(depth_net=depth_net, precision="fp16"))
    a_row = {name: tflop / 2 for name, tflop in a_pair.items()}
    expected = {"identitynet": 2.99, "controlnet_depth": depth_tflop, "unet": 6.78}
    assert a_row == pytest.approx(expected, abs=0.005)


@pytest.mark.slow
def test_the_depth_estimator_of_full_size_is_the_published_one() -> None:
    """Depth Anything V2 Small has 24.8 million parameters."""
    estimator = design("depth_estimator", Options(precision="fp32"))
    assert sum(parameter.numel() for parameter in estimator.parameters()) == pytest.approx(24.8e6, rel=0.005)


def run(options: Options, dtype: torch.dtype) -> torch.Tensor:
    engines = step_engines(options).items()
    step = Step({name: TorchNetwork(build(name, options, dtype), e) for name, e in engines}, ensemble_config(options))
    return step({name: tensor.to(dtype) for name, tensor in step_inputs(options).items()})


@pytest.mark.slow
@pytest.mark.parametrize("depth_net", ["full", "small"])
def test_the_step_predicts_noise_of_about_unit_size(depth_net: str) -> None:
    noise_pred = run(replace(TINY, depth_net=depth_net), torch.float32)
    assert noise_pred.shape == (2, 4, 16, 16)
    assert 0.1 < noise_pred.std() < 10


def test_networks_of_one_precision_have_the_same_weights_at_any_type_and_time() -> None:
    options = replace(TINY, precision="fp16")
    half, full = (dict(build("unet", options, dtype).named_parameters()) for dtype in (torch.float16, torch.float32))
    assert all(torch.equal(half[name].float(), full[name]) for name in full)


def test_every_value_of_a_network_is_set() -> None:
    for name in step_engines(TINY):
        module = build(name, TINY)
        assert not list(module.buffers())
        assert all(parameter.isfinite().all() and parameter.abs().max() < 10 for parameter in module.parameters())


@pytest.mark.slow
def test_a_wrong_answer_is_seen(tmp_path: Path) -> None:
    options = replace(TINY, folder=tmp_path)
    artefacts.make_reference(options)
    noise_pred = run(options, torch.float32)
    assert artefacts.difference(options, noise_pred) < 1e-5
    assert artefacts.difference(options, -noise_pred) == pytest.approx(2, abs=1e-3)
    assert artefacts.difference(options, noise_pred.roll(1, 0)) > 0.1


@pytest.mark.slow
def test_an_eager_row_has_time_memory_and_difference(tmp_path: Path) -> None:
    options = replace(TINY, folder=tmp_path)
    variants.measure("limit", options)
    measured = variants.measure("eager", options)
    assert measured["lowest_ms"] <= measured["step_ms"] <= measured["highest_ms"]
    assert float(measured["difference"]) < 1e-5
    assert float(measured["peak_gib"]) >= 0


@pytest.mark.slow
def test_a_picture_depends_on_all_that_it_is_made_of(tmp_path: Path) -> None:
    options = replace(TINY, folder=tmp_path)
    networks = {name: eager_network(name, options) for name in picture_engines(options)}
    inputs, exact = step_inputs(options), exact_picture(options)

    def difference_without(engine: str) -> float:
        without = {**networks, engine: lambda read: {name: t * 0 for name, t in networks[engine](read).items()}}
        (image,) = Picture(without if engine else networks, options)(inputs).values()
        return artefacts.largest_difference(image, exact)

    assert exact.shape == (1, 128, 128, 3)
    assert exact.dtype == "uint8"
    assert exact.std() > 1
    assert difference_without("") == 0
    unused = [engine for engine in picture_engines(options) if difference_without(engine) == 0]
    assert unused == []


@pytest.mark.slow
def test_a_picture_s_row_is_set_against_float32(tmp_path: Path) -> None:
    measured = variants.measure("picture", replace(TINY, folder=tmp_path))
    assert measured["difference"] == 0
    assert picture_tflop(TINY) > STEPS * sum(step_tflop(TINY).values())


def test_options_travel_to_a_row_s_process(tmp_path: Path) -> None:
    options = replace(TINY, depth_net="small", folder=tmp_path, precision="fp16", tritonserver="/opt/tritonserver")
    assert parse(options.arguments()) == options


def test_a_gpu_is_asked_for_before_anything_slow() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(NotHere, match="a CUDA GPU"):
        variants.measure("eager", Options())


@pytest.mark.slow
def test_without_a_gpu_the_command_ends_with_one_sentence() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    command = [sys.executable, "-m", "benchmarks.gpu_check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("gpu-check needs a CUDA GPU")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_a_chip_is_known_by_the_driver_s_name(name: str, tflops: float) -> None:
    chip = known_chip(name)
    assert chip is not None
    assert chip.tflops == tflops


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090 D", "NVIDIA L40", "NVIDIA A1000", "NVIDIA B200"])
def test_a_chip_of_a_similar_name_is_not_taken_for_another(name: str) -> None:
    assert known_chip(name) is None


def test_a_matrix_product_has_a_rate() -> None:
    assert measured_tflops(CPU, torch.float32, repeats=2) > 0


def test_times_are_of_the_runs_asked_for() -> None:
    runs: list[int] = []
    assert len(times_ms(lambda: runs.append(1), CPU, 3)) == len(runs) == 3


def test_memory_that_is_gone_again_counts() -> None:
    with MemoryWatch(CPU) as memory:
        torch.ones(64 << 20).sum()
        MemoryWatch._look(memory)
        held = torch.ones(64 << 20)
        memory._look()
        del held
    assert 0.2 < memory.peak_gib < 1


def test_what_a_row_needs_is_made_first_outside_its_own_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, float]] = []

    def run(command: list[str], timeout: float, **options: object) -> subprocess.CompletedProcess[str]:
        (task,) = {"--prepare", "--row"} & set(command)
        asked.append((task, timeout))
        Path(command[-1]).write_text('{"measured": {}}' if task == "--prepare" else '{"error": "stopped here"}')
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(runner.subprocess, "run", run)
    options = replace(TINY, folder=tmp_path)
    for name in ("tensorrt", "eager"):
        assert runner.run(name, options, {}, {}).error == "stopped here"
    (preparation, long), (row, short), (without, _) = asked
    assert (preparation, row, without) == ("--prepare", "--row", "--row")
    assert long > short


@pytest.mark.slow
def test_a_row_whose_preparation_failed_is_not_measured(tmp_path: Path) -> None:
    record = runner.run("vae-tensorrt", replace(TINY, folder=tmp_path), {}, {})
    assert record.error.startswith(runner.ABSENT)
    assert not record.measured


KNOWN: runner.Rows = {
    "limit": {"chip_tflops": 1000.0, "matmul_tflops": 800.0},
    "eager": {"step_ms": 100.0},
    "tensorrt": {"step_ms": 50.0},
}


def test_a_row_through_triton_is_set_against_eager_the_chip_and_one_process() -> None:
    assert runner.derived("triton-tensorrt", {"step_ms": 52.0}, KNOWN, tflop=26.0) == {
        "tflops": pytest.approx(500),
        "chip_share": pytest.approx(0.5),
        "matmul_share": pytest.approx(0.625),
        "eager_ratio": pytest.approx(0.52),
        "triton_ms": pytest.approx(2.0),
    }


def test_what_has_no_other_half_is_left_out() -> None:
    assert set(runner.derived("triton-onnxruntime", {"step_ms": 52.0}, {}, tflop=26.0)) == {"tflops"}
    assert runner.derived("eager", {"step_ms": 52.0}, {}, tflop=26.0)["eager_ratio"] == 1


def record(row: str, measured: Measured, error: str = "", device: str = "H100") -> Record:
    return Record("gpu-check", row, "2026-11-22T12:00:00+00:00", 1.0, measured, "", None, error, {"step": device})


def test_earlier_rows_of_the_same_step_count_and_of_another_do_not(tmp_path: Path) -> None:
    from benchmarks.records import append

    path = tmp_path / "records.jsonl"
    assert runner.earlier(path, {"step": "H100"}) == {}
    for made in (
        record("eager", {"step_ms": 1.0}),
        record("eager", {"step_ms": 2.0}),
        record("eager", {}, "failed"),
        record("eager", {"step_ms": 3.0}, device="L4"),
    ):
        append(path, made)
    assert runner.earlier(path, {"step": "H100"}) == {"eager": {"step_ms": 2.0}}


def test_failed_and_absent_rows_stay_in_the_table_with_their_reason() -> None:
    records = [
        record("limit", {"matmul_tflops": 1.0}),
        record("eager", {"step_ms": 100.0, "difference": 0.001}),
        record("tensorrt", {}, "not here: tensorrt, which is not installed"),
        record("compiled", {}, "OutOfMemoryError: CUDA out of memory"),
    ]
    labels = [line[0] for line in table.rows(records)]
    assert labels == ["row", "PyTorch, eager", "TensorRT (not here)", "PyTorch, compiled (failed)"]
    page = table.markdown(records, "title")
    assert "TensorRT: not here: tensorrt, which is not installed" in page
    assert "PyTorch, compiled: OutOfMemoryError: CUDA out of memory" in page
    assert "| PyTorch, eager | 100.0 |" in page


def test_tensorrt_is_missing_before_anything_is_exported(tmp_path: Path) -> None:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(NotHere, match="tensorrt, which is not installed"):
            variants.measure("triton-tensorrt", replace(TINY, folder=tmp_path))
        assert not list(tmp_path.iterdir())
