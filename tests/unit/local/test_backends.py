"""The stand-ins for Triton's C++ backends, with fakes for what only a GPU has."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

BACKENDS = Path(__file__).parents[3] / "deploy" / "local" / "backends"
Shape = tuple[int, ...]


class TritonModelException(Exception):
    pass


class FakeConfig:
    """What ``auto_complete_config`` is given."""

    def __init__(self, **given: Any) -> None:
        self.given: dict[str, Any] = {"max_batch_size": 0, **given}

    def as_dict(self) -> dict[str, Any]:
        return self.given

    def set_max_batch_size(self, size: int) -> None:
        self.given["max_batch_size"] = size

    def set_dynamic_batching(self) -> None:
        self.given["dynamic_batching"] = {}

    def add_input(self, described: dict[str, Any]) -> None:
        self.given.setdefault("input", []).append(described)

    def add_output(self, described: dict[str, Any]) -> None:
        self.given.setdefault("output", []).append(described)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The folders that a stub searches, and Triton's module."""
    pb_utils: Any = ModuleType("triton_python_backend_utils")
    pb_utils.TritonModelException = TritonModelException
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", pb_utils)
    for name in ("stand_in", "plan", "on_device"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for folder in ("python", "tensorrt", "onnxruntime"):
        monkeypatch.syspath_prepend(str(BACKENDS / folder))
    return monkeypatch


class FakeEngine:
    """A plan of y = 2 x with a narrow profile first, and one that admits up to four rows of any width."""

    num_io_tensors = 2
    num_optimization_profiles = 2
    profiles = (((2, 3), (2, 3), (2, 3)), ((1, 1), (2, 3), (4, 64)))

    def __init__(self) -> None:
        self.made: list[FakeContext] = []

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name="INPUT" if name == "x" else "OUTPUT")

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name="FLOAT")

    def get_tensor_shape(self, name: str) -> Shape:
        return (-1, -1)

    def get_tensor_profile_shape(self, name: str, profile: int) -> tuple[Shape, Shape, Shape]:
        return self.profiles[profile]

    def create_execution_context(self) -> "FakeContext":
        self.made.append(FakeContext())
        return self.made[-1]


class FakeContext:
    def __init__(self) -> None:
        self.profile, self.shapes, self.addresses = 0, dict[str, Shape](), dict[str, int]()

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self.shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        return self.shapes["x"]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        import ctypes

        count = self.shapes["x"][0] * self.shapes["x"][1]
        x, y = (ctypes.cast(self.addresses[name], ctypes.POINTER(ctypes.c_float)) for name in "xy")
        for index in range(count):
            y[index] = 2 * x[index]
        return True


@pytest.fixture
def engine(modules: pytest.MonkeyPatch) -> FakeEngine:
    """TensorRT, which reads every plan as that engine, and torch's streams."""
    made = FakeEngine()
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = "11.4"
    trt.Logger = type("Logger", (), {"WARNING": 1, "__init__": lambda self, level: None})
    read = lambda self, content: made if content == b"plan" else None  # noqa: E731
    trt.Runtime = type("Runtime", (), {"__init__": lambda self, log: None, "deserialize_cuda_engine": read})
    modules.setitem(sys.modules, "tensorrt", trt)
    stream = SimpleNamespace(cuda_stream=7, synchronize=lambda: None)
    modules.setattr(torch.cuda, "Stream", lambda device: stream)
    modules.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    modules.setattr(torch.cuda, "device", lambda device: nullcontext())
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.plan"
    file.write_bytes(b"plan")
    return file


def test_a_plan_runs_requests_together_and_gives_each_its_own_rows(engine: FakeEngine, path: Path) -> None:
    from plan import Plan

    feeds = [{"x": torch.full((rows, 5), float(rows))} for rows in (1, 2)]
    first, second = Plan(path, "cpu").run(feeds)
    assert torch.equal(first["y"], torch.full((1, 5), 2.0))
    assert torch.equal(second["y"], torch.full((2, 5), 4.0))


def test_the_first_profile_that_admits_the_shapes_is_taken(engine: FakeEngine, path: Path) -> None:
    from plan import Plan

    plan = Plan(path, "cpu")
    for shape in ((2, 3), (2, 4), (2, 3), (1, 64)):
        plan.run([{"x": torch.ones(shape)}])
    assert [context.profile for context in engine.made] == [0, 1]


def test_shapes_that_no_profile_admits_are_named(engine: FakeEngine, path: Path) -> None:
    from plan import Plan, PlanError

    with pytest.raises(PlanError, match=r"not built for these shapes: x \[5, 3\]"):
        Plan(path, "cpu").run([{"x": torch.ones(5, 3)}])


def test_a_plan_completes_its_configuration(engine: FakeEngine, path: Path) -> None:
    from plan import ports
    from stand_in import complete_config

    config = FakeConfig()
    inputs, outputs, largest = ports(path)
    complete_config(config, inputs, outputs, largest)
    assert config.given == {
        "max_batch_size": 4,
        "dynamic_batching": {},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1]}],
    }


def test_a_plan_of_another_version_is_refused_with_what_to_do(engine: FakeEngine, path: Path) -> None:
    from plan import Plan, PlanError

    path.write_bytes(b"another")
    with pytest.raises(PlanError, match=r"TensorRT 11\.4 cannot read this plan.*python -m export tensorrt"):
        Plan(path, "cpu")


def test_without_tensorrt_the_error_says_so(modules: pytest.MonkeyPatch, path: Path) -> None:
    modules.setitem(sys.modules, "tensorrt", None)
    from plan import PlanError, ports

    with pytest.raises(PlanError, match="needs the package tensorrt"):
        ports(path)


def test_a_network_of_fixed_batch_is_not_batched(modules: pytest.MonkeyPatch) -> None:
    from stand_in import Port, complete_config

    config = FakeConfig()
    complete_config(config, [Port("x", "TYPE_FP32", (1, 3))], [Port("y", "TYPE_FP32", (-1, 3))], 4)
    assert config.given["max_batch_size"] == 0
    assert config.given["input"][0]["dims"] == [1, 3]
    with pytest.raises(TritonModelException, match="max_batch_size is 8"):
        complete_config(FakeConfig(max_batch_size=8), [Port("x", "TYPE_FP32", (1, 3))], [], 4)


def test_what_triton_cannot_hold_is_named(modules: pytest.MonkeyPatch) -> None:
    from stand_in import Port, complete_config

    with pytest.raises(TritonModelException, match="x: its type is not supported"):
        complete_config(FakeConfig(), [Port("x", None, (-1, 3))], [], 4)
    with pytest.raises(TritonModelException, match="x: a tensor needs a dimension besides the batch's"):
        complete_config(FakeConfig(), [Port("x", "TYPE_FP32", (-1,))], [], 4)


class TensorOnAGpu:
    """As the Python backend hands it over: only DLPack leads out."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    def is_cpu(self) -> bool:
        return False

    def as_numpy(self) -> Any:
        raise RuntimeError("Tensor is stored in GPU and cannot be converted to NumPy.")

    def __dlpack__(self, **given: Any) -> Any:
        return self._values.__dlpack__(**given)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


def test_a_session_on_the_cpu_takes_tensors_of_a_gpu(modules: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and without onnxruntime-gpu: the loop's tensors lie on the GPU."""
    from on_device import on_host

    values = torch.arange(6.0).view(2, 3)
    assert on_host(TensorOnAGpu(values)).tolist() == values.tolist()
    in_host_memory = SimpleNamespace(is_cpu=lambda: True, as_numpy=values.numpy)
    assert on_host(in_host_memory).tolist() == values.tolist()
