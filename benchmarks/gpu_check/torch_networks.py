"""A network in PyTorch, eager or compiled, and an empty one: what a Python model can serve in an engine's place."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from .networks import build, engines, step_engines
from .options import Options
from .step import Network, Tensors, TorchNetwork


def eager_network(name: str, options: Options, dtype: torch.dtype | None = None) -> Network:
    """Network ``name`` as it is; ``dtype``: by default the precision's."""
    return TorchNetwork(build(name, options, dtype), engines(options)[name])


def compiled_network(name: str, options: Options, dtype: torch.dtype | None = None) -> Network:
    """A network through ``torch.compile``, for one shape.

    Its mode is Inductor's default: convolutions and large matrix products stay with cuDNN and cuBLAS, what lies
    between is fused. CUDA graphs (``reduce-overhead``) would save launches, which a step of tens of milliseconds hides,
    and would own the outputs that the next network reads; ``max-autotune-no-cudagraphs`` tries kernels for minutes.
    """
    module = channels_last(build(name, options, dtype))
    compiled = torch.compile(module, mode=options.compile_mode, dynamic=False)
    return TorchNetwork(compiled, engines(options)[name])  # type: ignore[arg-type]


def channels_last(module: nn.Module) -> nn.Module:
    """The order in memory in which tensor cores take convolutions."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class EmptyNetwork:
    """Answers an engine's call at once, with tensors that lie ready on the device, (R, …) as the engine's would be."""

    def __init__(self, name: str, options: Options) -> None:
        step, io_dtype = options.networks.step, options.float_type.io_dtype
        arrays = {t.name: np.zeros(t.shape(step), t.dtype or io_dtype) for t in step_engines(options)[name].outputs}
        self._outputs = {name: torch.from_numpy(array).to(options.torch_device) for name, array in arrays.items()}

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Tensors:
        """Look at nothing."""
        return self._outputs


NETWORKS: Mapping[str, Callable[[str, Options], Network]] = {
    "eager": eager_network,
    "compiled": compiled_network,
    "empty": EmptyNetwork,
}
