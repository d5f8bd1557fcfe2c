"""How tensors get into and out of a call of another model, by a stand-in for Triton's module and for a GPU."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from insta_depth_shared.bls import Bls, device_tensors
from insta_depth_shared.errors import EngineFailed

HOST = torch.device("cpu")


class FakeTensor:
    """Triton's tensor: an array in host memory, or whatever was given by DLPack."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self.array = name, array

    @classmethod
    def from_dlpack(cls, name: str, given: Any) -> "FakeTensor":
        return cls(name, given)

    def is_cpu(self) -> bool:
        return isinstance(self.array, np.ndarray)

    def as_numpy(self) -> np.ndarray:
        return self.array


class OnGpu:
    """What a CUDA tensor looks like from outside."""

    device = torch.device("cuda", 1)

    def __init__(self) -> None:
        self.is_contiguous = False

    def contiguous(self) -> "OnGpu":
        self.is_contiguous = True
        return self


class FakeTriton:
    """The part of ``triton_python_backend_utils`` that a call needs; answers with its inputs."""

    Tensor = FakeTensor
    TRITONSERVER_MEMORY_CPU, TRITONSERVER_MEMORY_GPU = "CPU", "GPU"

    def __init__(self, error: str | None = None) -> None:
        self.requests: list[Any] = []
        self._error = error

    def PreferredMemory(self, kind: str, device: int) -> tuple[str, int]:  # noqa: N802
        return kind, device

    def InferenceRequest(self, **request: Any) -> Any:  # noqa: N802
        self.requests.append(SimpleNamespace(**request))
        response = SimpleNamespace(
            has_error=lambda: self._error is not None,
            error=lambda: SimpleNamespace(message=lambda: self._error),
            tensors={tensor.name: tensor for tensor in request["inputs"]},
        )

        async def async_exec() -> Any:
            return response

        return SimpleNamespace(async_exec=async_exec)

    def get_output_tensor_by_name(self, response: Any, name: str) -> FakeTensor | None:
        return response.tensors.get(name)


async def test_on_the_host_tensors_travel_as_arrays() -> None:
    triton = FakeTriton()
    rows = torch.arange(6.0).view(2, 3).expand(2, 3)
    answer = await Bls(triton).call_on(HOST, "echo", {"a": rows, "b": np.ones(2)}, ["a", "b"])
    assert torch.equal(answer["a"], rows)
    assert answer["b"].tolist() == [1, 1]
    (request,) = triton.requests
    assert request.preferred_memory == ("CPU", 0)
    assert all(isinstance(tensor.array, np.ndarray) for tensor in request.inputs)


async def test_an_answer_without_an_output_names_model_and_output() -> None:
    bls = Bls(FakeTriton())
    with pytest.raises(EngineFailed, match="echo: answered without b"):
        await bls.call("echo", {"a": np.ones(2)}, ["a", "b"])
    with pytest.raises(EngineFailed, match="echo: answered without b"):
        await bls.call_on(HOST, "echo", {"a": np.ones(2)}, ["a", "b"])


async def test_on_a_gpu_triton_gets_the_object_itself_and_is_asked_for_gpu_memory() -> None:
    triton, on_gpu = FakeTriton(error="stop here"), OnGpu()
    with pytest.raises(EngineFailed, match="echo: stop here"):
        await Bls(triton).call_on(on_gpu.device, "echo", {"a": on_gpu}, ["a"])
    (request,) = triton.requests
    assert request.preferred_memory == ("GPU", 1)
    (tensor,) = request.inputs
    assert tensor.array is on_gpu
    assert on_gpu.is_contiguous, "Triton refuses strided tensors"


def test_what_triton_owns_is_copied() -> None:
    owned = torch.ones(3)

    class Lent:
        def is_cpu(self) -> bool:
            return False

        def __dlpack__(self, **options: Any) -> Any:
            return owned.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return owned.__dlpack_device__()

    (copy,) = device_tensors({"a": Lent()}, HOST).values()
    owned.zero_()
    assert copy.tolist() == [1, 1, 1]
