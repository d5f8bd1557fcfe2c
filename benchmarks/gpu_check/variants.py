"""The rows: each loads the step in its own way, runs it and says what it found."""

import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from . import serving
from .artefacts import difference, make_reference, plan_path, prepare_plans
from .chips import known_chip, measured_tflops
from .errors import NotHere
from .measuring import GIB, MemoryWatch, spread, synchronize, times_ms
from .networks import build, step_engines
from .onnx_network import OnnxNetwork, prepare_sessions
from .options import Options
from .step import Network, Step, TorchNetwork, ensemble_config, step_inputs

Measured = dict[str, float | int | str]
Prepare = Callable[[Options], None]
Load = Callable[[Options], Mapping[str, Network]]


def measure_limit(options: Options) -> Measured:
    """What this chip can do, on paper and now; and the answer that the other rows are compared with."""
    make_reference(options)
    measured: Measured = {"matmul_tflops": measured_tflops(options.torch_device, options.float_type.torch_dtype)}
    if not options.is_on_gpu:
        return measured
    chip = known_chip(torch.cuda.get_device_name(options.torch_device))
    return measured | ({"chip_tflops": chip.tflops, "chip_source": chip.source} if chip else {})


def _measure(options: Options, load: Load) -> Measured:
    """Load the networks, warm them up, time them; memory is watched until the clock starts."""
    device, inputs = options.torch_device, step_inputs(options)
    synchronize(device)
    started = time.perf_counter()
    with MemoryWatch(device) as memory:
        step = Step(load(options), ensemble_config(options))
        for _ in range(options.warm_up):
            noise_pred = step(inputs)
        synchronize(device)
    ready_s = time.perf_counter() - started
    times = times_ms(lambda: step(inputs), device, options.repeats)
    return {
        **spread(times),
        "ready_s": ready_s,
        "peak_gib": memory.peak_gib,
        **_torch_peak(device),
        "difference": difference(options, noise_pred),
    }


def _torch_peak(device: torch.device) -> Measured:
    return {"torch_peak_gib": torch.cuda.max_memory_allocated(device) / GIB} if device.type == "cuda" else {}


def _eager(options: Options) -> Mapping[str, Network]:
    return {name: TorchNetwork(build(name, options), engine) for name, engine in step_engines(options).items()}


def _compiled(options: Options) -> Mapping[str, Network]:
    return {name: compiled_network(name, options) for name in step_engines(options)}


def compiled_network(name: str, options: Options) -> Network:
    """A network through ``torch.compile``, for one shape.

    Its mode is Inductor's default: convolutions and large matrix products stay with cuDNN and cuBLAS, what lies
    between is fused. CUDA graphs (``reduce-overhead``) would save launches, which a step of tens of milliseconds hides,
    and would own the outputs that the next network reads; ``max-autotune-no-cudagraphs`` tries kernels for minutes.
    """
    module = channels_last(build(name, options))
    compiled = torch.compile(module, mode=options.compile_mode, dynamic=False)
    return TorchNetwork(compiled, step_engines(options)[name])  # type: ignore[arg-type]


def channels_last(module: nn.Module) -> nn.Module:
    """The order in memory in which tensor cores take convolutions."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _onnx(options: Options) -> Mapping[str, Network]:
    return {name: OnnxNetwork(name, options) for name in step_engines(options)}


def _tensorrt(options: Options) -> Mapping[str, Network]:
    from export.plans.run import Plan

    return {name: Plan(plan_path(options, name), options.torch_device) for name in step_engines(options)}


def _nothing(options: Options) -> None:
    """Networks from random weights need nothing that is kept."""


def _in_process(prepare: Prepare, load: Load) -> Callable[[Options], Measured]:
    def run(options: Options) -> Measured:
        prepare(options)
        return _measure(options, load)

    return run


def _through_triton(engines: serving.Kind, prepare: Prepare) -> Callable[[Options], Measured]:
    def run(options: Options) -> Measured:
        prepare(options)
        return _measure_served(options, engines)

    return run


def _measure_served(options: Options, engines: serving.Kind) -> Measured:
    with MemoryWatch(options.torch_device) as memory:
        times, noise_pred = serving.measure(options, engines)
    return {**spread(times), "peak_gib": memory.peak_gib, "difference": difference(options, noise_pred)}


LIMIT = "limit"
VARIANTS: Mapping[str, Callable[[Options], Measured]] = {
    "eager": _in_process(_nothing, _eager),
    "compiled": _in_process(_nothing, _compiled),
    "onnxruntime": _in_process(prepare_sessions, _onnx),
    "tensorrt": _in_process(prepare_plans, _tensorrt),
    "triton-compiled": _through_triton("compiled", _nothing),
    "triton-onnxruntime": _through_triton("onnxruntime", prepare_sessions),
    "triton-tensorrt": _through_triton("tensorrt", prepare_plans),
}
"""In the order of the table; ``triton-X`` serves what ``X`` runs in one process."""


def measure(name: str, options: Options) -> Measured:
    """Measure one row here; raises `NotHere` where a part of it is missing."""
    if options.is_on_gpu and not torch.cuda.is_available():
        raise NotHere("a CUDA GPU")
    return measure_limit(options) if name == LIMIT else VARIANTS[name](options)
