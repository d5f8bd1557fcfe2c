"""How much arithmetic a step is, counted from the modules themselves; nothing is computed."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from export.engines import sample_inputs

from .networks import design, step_engines
from .options import Options


def step_tflop(options: Options) -> dict[str, float]:
    """TFLOP (a multiply-add is two) of each network for all rows of the step: matrix products and convolutions."""
    return {name: _network_tflop(name, options) for name in step_engines(options)}


def _network_tflop(name: str, options: Options) -> float:
    arrays = sample_inputs(step_engines(options)[name], options.networks.step, options.float_type.io_dtype)
    inputs = [torch.from_numpy(array).to("meta") for array in arrays.values()]
    module = design(name, options)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() / 1e12
