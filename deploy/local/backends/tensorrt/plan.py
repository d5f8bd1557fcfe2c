"""A TensorRT plan as a function over tensors on the GPU, with the interface shared by TensorRT 10 and 11."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from stand_in import Port

# TensorRT's names of types, torch's, Triton's.
_TYPES = {
    "FLOAT": (torch.float32, "TYPE_FP32"),
    "HALF": (torch.float16, "TYPE_FP16"),
    "BF16": (torch.bfloat16, "TYPE_BF16"),
    "INT64": (torch.int64, "TYPE_INT64"),
    "INT32": (torch.int32, "TYPE_INT32"),
    "INT8": (torch.int8, "TYPE_INT8"),
    "UINT8": (torch.uint8, "TYPE_UINT8"),
    "BOOL": (torch.bool, "TYPE_BOOL"),
}


class PlanError(Exception):
    """A plan cannot be loaded or run; the text says which and why."""


class Plan:
    """A plan on one GPU, for one caller at a time. Each profile in use has an execution context."""

    def __init__(self, path: Path, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._stream = torch.cuda.Stream(self._device)
        with torch.cuda.device(self._device):
            self._engine = _load(path)
        self._contexts: dict[int, Any] = {}
        self.inputs, outputs = _names(self._engine)
        self._outputs = {name: _TYPES[self._engine.get_tensor_dtype(name).name][0] for name in outputs}

    def run(self, feeds: Sequence[Mapping[str, Any]]) -> list[dict[str, torch.Tensor]]:
        """Return each request's outputs after synchronising; inputs are any DLPack tensors."""
        with torch.cuda.stream(self._stream):
            parts = [{name: torch.from_dlpack(x).to(self._device) for name, x in feed.items()} for feed in feeds]
            made = [self._enqueue(parts[0])] if len(parts) == 1 else self._enqueue_joined(parts)
        self._stream.synchronize()
        return made

    def _enqueue_joined(self, parts: Sequence[Mapping[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        rows = [len(next(iter(part.values()))) for part in parts]
        by_name = {name: output.split(rows) for name, output in self._enqueue(joined).items()}
        return [{name: outputs[i] for name, outputs in by_name.items()} for i in range(len(parts))]

    def _enqueue(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        taken = {name: inputs[name].contiguous() for name in self.inputs}
        context = self._context_for({name: tuple(tensor.shape) for name, tensor in taken.items()})
        for name, tensor in taken.items():
            context.set_input_shape(name, tuple(tensor.shape))
            context.set_tensor_address(name, tensor.data_ptr())
        outputs = {
            name: torch.empty(tuple(context.get_tensor_shape(name)), dtype=dtype, device=self._device)
            for name, dtype in self._outputs.items()
        }
        for name, output in outputs.items():
            context.set_tensor_address(name, output.data_ptr())
        if not context.execute_async_v3(self._stream.cuda_stream):
            raise PlanError("TensorRT could not run the plan; the server's log says why")
        return outputs

    def _context_for(self, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """Return the context of the first profile that admits ``shapes``: export puts the narrow ones first."""
        for profile in range(self._engine.num_optimization_profiles):
            if all(_admits(self._engine, profile, name, shape) for name, shape in shapes.items()):
                return self._contexts.get(profile) or self._new_context(profile)
        told = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise PlanError(f"the plan was not built for these shapes: {told}")

    def _new_context(self, profile: int) -> Any:
        with torch.cuda.device(self._device):
            context = self._engine.create_execution_context()
        if context is None:
            raise PlanError(f"no room on {self._device} for the activations of the plan's profile {profile}")
        if profile:
            context.set_optimization_profile_async(profile, self._stream.cuda_stream)
        self._contexts[profile] = context
        return context


def _admits(engine: Any, profile: int, name: str, shape: tuple[int, ...]) -> bool:
    smallest, _, largest = engine.get_tensor_profile_shape(name, profile)
    fits = [low <= side <= high for low, side, high in zip(smallest, shape, largest, strict=False)]
    return len(tuple(smallest)) == len(shape) and all(fits)


def ports(path: Path) -> tuple[list[Port], list[Port], int]:
    """Return a plan's inputs, its outputs, and the largest batch that one of its profiles allows."""
    engine = _load(path)
    inputs, outputs = _names(engine)
    profiles = range(engine.num_optimization_profiles)
    largest = max(min(engine.get_tensor_profile_shape(name, i)[2][0] for name in inputs) for i in profiles)
    return [_port(engine, name) for name in inputs], [_port(engine, name) for name in outputs], largest


def _port(engine: Any, name: str) -> Port:
    kind = _TYPES.get(engine.get_tensor_dtype(name).name, (None, None))[1]
    return Port(name, kind, tuple(engine.get_tensor_shape(name)))


def _names(engine: Any) -> tuple[list[str], list[str]]:
    """The names of inputs and of outputs."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    are_inputs = [engine.get_tensor_mode(name).name == "INPUT" for name in names]
    pairs = list(zip(names, are_inputs, strict=True))
    return [name for name, is_input in pairs if is_input], [name for name, is_input in pairs if not is_input]


def _load(path: Path) -> Any:
    trt = _tensorrt()
    engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise PlanError(
            f"{path}: TensorRT {trt.__version__} cannot read this plan; plans are bound to the version and the "
            "kind of GPU that they were built with: build it here with `python -m export tensorrt`"
        )
    return engine


def _tensorrt() -> ModuleType:
    try:
        import tensorrt
    except ImportError as error:
        raise PlanError(
            f"a model.plan needs the package tensorrt, which is not installed here ({error}): `pip install tensorrt`"
        ) from error
    return tensorrt
