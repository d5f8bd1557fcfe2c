"""The input sizes of a published SCRFD file."""

from pathlib import Path

import onnx
from onnx import ModelProto, ValueInfoProto

from .errors import CheckpointError

DETECTOR_SIDES = (640, 320, 160)
"""Square inputs to try in turn; 640 is insightface's own default, smaller ones find faces that fill a picture."""


def detector_sides(path: Path) -> tuple[int, ...]:
    """Return the detector's input sizes: its own where the file fixes one, else `DETECTOR_SIDES`."""
    model = onnx.load(path, load_external_data=False)
    height, width = model_input(model, path).type.tensor_type.shape.dim[2:4]
    if not (height.dim_value and width.dim_value):
        return DETECTOR_SIDES
    if height.dim_value != width.dim_value:
        raise CheckpointError(
            f"{path}: a square input is needed, this one is fixed to {height.dim_value}×{width.dim_value}"
        )
    return (height.dim_value,)


def model_input(model: ModelProto, path: Path) -> ValueInfoProto:
    """Return the one input that is not a weight."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise CheckpointError(f"{path}: one input expected, found {[value.name for value in inputs]}")
    return inputs[0]
