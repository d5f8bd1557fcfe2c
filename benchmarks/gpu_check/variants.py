"""The rows: each loads the step, or a network that runs once, in its own way, runs it and says what it found."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from . import serving
from .artefacts import difference, largest_difference, make_reference, plan_path, prepare_plans
from .chips import known_chip, measured_tflops
from .flops import network_tflop, step_tflop
from .measuring import GIB, MemoryWatch, spread, synchronize, times_ms
from .networks import DEPTH_ESTIMATOR, VAE_DECODER, step_engines
from .once import exact, once_inputs, tf32
from .onnx_network import OnnxNetwork, prepare_sessions
from .options import NotHere, Options
from .picture import STEPS, Picture, exact_picture, picture_engines, picture_tflop
from .step import Network, Step, Tensors, ensemble_config, step_inputs
from .torch_networks import compiled_network, eager_network

Measured = dict[str, float | int | str]
Prepare = Callable[[Options, Iterable[str]], None]
Make = Callable[[str, Options], Network]


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    ``baseline``: the row that its time is divided by. ``in_process``: what it serves through Triton, measured without.
    ``work``: the row's TFLOP; None for a row that computes nothing. ``prepare``: makes what is kept for the row.
    """

    title: str
    measure: Callable[[Options], Measured]
    baseline: str
    work: Callable[[Options], float] | None
    in_process: str = ""
    prepare: Callable[[Options], None] | None = None


def measure_limit(options: Options) -> Measured:
    """What this chip can do, on paper and now; and the answer that the other rows are compared with."""
    make_reference(options)
    measured: Measured = {"matmul_tflops": measured_tflops(options.torch_device, options.float_type.torch_dtype)}
    if not options.is_on_gpu:
        return measured
    chip = known_chip(torch.cuda.get_device_name(options.torch_device))
    return measured | ({"chip_tflops": chip.tflops, "chip_source": chip.source} if chip else {})


def _measure(options: Options, load: Callable[[], Network], inputs: Tensors) -> tuple[Measured, Tensors]:
    """Load a network, warm it up, time it; memory is watched until the clock starts."""
    device = options.torch_device
    synchronize(device)
    started = time.perf_counter()
    with MemoryWatch(device) as memory:
        network = load()
        for _ in range(options.warm_up):
            outputs = network(inputs)
        synchronize(device)
    ready_s = time.perf_counter() - started
    times = times_ms(lambda: network(inputs), device, options.repeats)
    measured = {**spread(times), "ready_s": ready_s, "peak_gib": memory.peak_gib, **_torch_peak(device)}
    return measured, outputs


def _torch_peak(device: torch.device) -> Measured:
    return {"torch_peak_gib": torch.cuda.max_memory_allocated(device) / GIB} if device.type == "cuda" else {}


def _plan(name: str, options: Options) -> Network:
    from export.plans.runner import PlanRunner

    return PlanRunner(plan_path(options, name), options.torch_device)


def _step_tflop(options: Options) -> float:
    return sum(step_tflop(options).values())


def _prepared(prepare: Prepare | None, names: Callable[[Options], Iterable[str]]) -> Callable[[Options], None] | None:
    return prepare and (lambda options: prepare(options, names(options)))


def _in_process(title: str, make: Make, prepare: Prepare | None = None) -> Variant:
    def measure(options: Options) -> Measured:
        def network() -> Network:
            step = Step({name: make(name, options) for name in step_engines(options)}, ensemble_config(options))
            return lambda inputs: {"noise_pred": step(inputs)}

        measured, outputs = _measure(options, network, step_inputs(options))
        return measured | {"difference": difference(options, outputs["noise_pred"])}

    return Variant(title, measure, "eager", _step_tflop, prepare=_prepared(prepare, step_engines))


def _through_triton(title: str, engines: serving.Kind, prepare: Prepare | None = None) -> Variant:
    def measure(options: Options) -> Measured:
        measured, noise_pred = _served(options, engines)
        return measured | {"difference": difference(options, noise_pred)}

    return Variant(title, measure, "eager", _step_tflop, in_process=engines, prepare=_prepared(prepare, step_engines))


def _orchestration(options: Options) -> Measured:
    """The loop and Triton without any network: engines that answer at once, with tensors of the right sizes."""
    return _served(options, "empty")[0]


def _served(options: Options, engines: serving.Kind) -> tuple[Measured, torch.Tensor]:
    with MemoryWatch(options.torch_device) as memory:
        times, noise_pred = serving.measure(options, engines)
    return {**spread(times), "peak_gib": memory.peak_gib}, noise_pred


def _once(
    name: str,
    title: str,
    load: Callable[[Options], Network],
    prepare: Prepare | None = None,
    is_tf32_allowed: bool = True,
) -> Variant:
    """A network that runs once a picture; the first row of each is the one in fp32."""

    def measure(options: Options) -> Measured:
        tf32(is_tf32_allowed)
        measured, outputs = _measure(options, lambda: load(options), once_inputs(name, options))
        (output,) = outputs.values()
        return measured | {"difference": largest_difference(output, exact(name, options))}

    return Variant(
        title,
        measure,
        _EXACT_ROW[name],
        lambda options: network_tflop(name, options),
        prepare=_prepared(prepare, lambda _: [name]),
    )


def _once_in_torch(
    name: str, title: str, make: Callable[..., Network], dtype: torch.dtype, is_tf32_allowed: bool = True
) -> Variant:
    def load(options: Options) -> Network:
        network = make(name, options, dtype)
        return lambda inputs: network({key: tensor.to(dtype) for key, tensor in inputs.items()})

    return _once(name, title, load, is_tf32_allowed=is_tf32_allowed)


def _once_in_tensorrt(name: str, title: str) -> Variant:
    return _once(name, title, lambda options: _plan(name, options), prepare_plans)


def _picture(title: str, make: Make, prepare: Prepare | None = None) -> Variant:
    def measure(options: Options) -> Measured:
        tf32(is_allowed=True)

        def network() -> Network:
            return Picture({name: make(name, options) for name in picture_engines(options)}, options)

        measured, outputs = _measure(options, network, step_inputs(options))
        (image,) = outputs.values()
        return measured | {"difference": largest_difference(image, exact_picture(options))}

    prepare_all = _prepared(prepare, picture_engines)
    return Variant(f"A picture of {STEPS} steps, {title}", measure, "picture", picture_tflop, prepare=prepare_all)


_EXACT_ROW = {VAE_DECODER: "vae", DEPTH_ESTIMATOR: "depth"}
LIMIT = "limit"
VARIANTS: Mapping[str, Variant] = {
    "eager": _in_process("PyTorch, eager", eager_network),
    "compiled": _in_process("PyTorch, compiled", compiled_network),
    "onnxruntime": _in_process("ONNX Runtime", OnnxNetwork, prepare_sessions),
    "tensorrt": _in_process("TensorRT", _plan, prepare_plans),
    "triton-eager": _through_triton("Triton, PyTorch eager", "eager"),
    "triton-compiled": _through_triton("Triton, PyTorch compiled", "compiled"),
    "triton-onnxruntime": _through_triton("Triton, ONNX Runtime", "onnxruntime", prepare_sessions),
    "triton-tensorrt": _through_triton("Triton, TensorRT", "tensorrt", prepare_plans),
    "orchestration": Variant("The loop and Triton alone", _orchestration, "eager", None),
    "vae": _once_in_torch(VAE_DECODER, "VAE, PyTorch, fp32", eager_network, torch.float32, is_tf32_allowed=False),
    "vae-tf32": _once_in_torch(VAE_DECODER, "VAE, PyTorch, TF32", eager_network, torch.float32),
    "vae-fp16": _once_in_torch(VAE_DECODER, "VAE, PyTorch, fp16", eager_network, torch.float16),
    "vae-tf32-compiled": _once_in_torch(VAE_DECODER, "VAE, PyTorch compiled, TF32", compiled_network, torch.float32),
    "vae-fp16-compiled": _once_in_torch(VAE_DECODER, "VAE, PyTorch compiled, fp16", compiled_network, torch.float16),
    "vae-tensorrt": _once_in_tensorrt(VAE_DECODER, "VAE, TensorRT"),
    "depth": _once_in_torch(
        DEPTH_ESTIMATOR, "Depth, PyTorch, fp32", eager_network, torch.float32, is_tf32_allowed=False
    ),
    "depth-tf32": _once_in_torch(DEPTH_ESTIMATOR, "Depth, PyTorch, TF32", eager_network, torch.float32),
    "depth-fp16": _once_in_torch(DEPTH_ESTIMATOR, "Depth, PyTorch, fp16", eager_network, torch.float16),
    "depth-tensorrt": _once_in_tensorrt(DEPTH_ESTIMATOR, "Depth, TensorRT"),
    "picture": _picture("PyTorch, eager", eager_network),
    "picture-compiled": _picture("PyTorch, compiled", compiled_network),
    "picture-tensorrt": _picture("TensorRT", _plan, prepare_plans),
}
"""In the order of the table; ``triton-X`` serves what ``X`` runs in one process."""


def measure(name: str, options: Options) -> Measured:
    """Measure one row, which is prepared, here; raises `NotHere` where a part of it is missing."""
    if options.is_on_gpu and not torch.cuda.is_available():
        raise NotHere("a CUDA GPU")
    return measure_limit(options) if name == LIMIT else VARIANTS[name].measure(options)


def needs_preparation(name: str) -> bool:
    """Whether `prepare` makes anything for the row."""
    return name != LIMIT and VARIANTS[name].prepare is not None


def prepare(name: str, options: Options) -> Measured:
    """Make what is kept for one row: ONNX files, plans; raises `NotHere` as `measure` does. Nothing is measured."""
    make = VARIANTS[name].prepare
    if make is not None:
        make(options)
    return {}
