"""How much arithmetic a step is, counted from the modules themselves; nothing is computed."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from export.engines import sample_inputs

from .networks import design, engines, sizes_of, step_engines
from .options import Options


def step_tflop(options: Options) -> dict[str, float]:
    """TFLOP (a multiply-add is two) of each network for all rows of the step: matrix products and convolutions."""
    return {name: network_tflop(name, options) for name in step_engines(options)}


def network_tflop(name: str, options: Options) -> float:
    """TFLOP of one network's call."""
    engine = engines(options)[name]
    arrays = sample_inputs(engine, sizes_of(engine, options), options.float_type.io_dtype)
    inputs = [torch.from_numpy(array).to("meta") for array in arrays.values()]
    module = design(name, options)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() / 1e12
