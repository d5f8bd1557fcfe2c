"""What the face files say of themselves: the input sizes that they fix, how like two pictures of one person are."""

import math
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, ValueInfoProto

from insta_depth_shared.manifest import SAME_PERSON_COSINE

from .errors import CheckpointError

DETECTOR_SIDES = (640, 320, 160)
"""Square inputs, tried in this order; 640 is insightface's default, smaller ones find faces that fill a picture."""

SAME_PERSON = "same_person_cosine"
"""Key among the metadata (``metadata_props``) of a recogniser's ONNX file."""


def detector_sides(path: Path) -> tuple[int, ...]:
    """Return the detector's input sizes: the file's own if it fixes one, else `DETECTOR_SIDES`."""
    model = _read(path)
    height, width = model_input(model, path).type.tensor_type.shape.dim[2:4]
    if not (height.dim_value and width.dim_value):
        return DETECTOR_SIDES
    if height.dim_value != width.dim_value:
        raise CheckpointError(
            f"{path}: a square input is needed, this one is fixed to {height.dim_value}×{width.dim_value}"
        )
    return (height.dim_value,)


def recognizer_rows(path: Path) -> int | None:
    """Return the recogniser's fixed batch size, or None if it takes any."""
    model = _read(path)
    return model_input(model, path).type.tensor_type.shape.dim[0].dim_value or None


def same_person_cosine(path: Path) -> float:
    """Return the cosine below which the recogniser's embeddings are of different people.

    The file says it in its metadata (`SAME_PERSON`); for one that does not, as the published one, it is 0.2. Raises
    `CheckpointError` where it is no number between −1 and 1.
    """
    said = {entry.key: entry.value for entry in _read(path).metadata_props}.get(SAME_PERSON)
    if said is None:
        return SAME_PERSON_COSINE
    try:
        cosine = float(said)
    except ValueError:
        cosine = math.nan
    if not -1 <= cosine <= 1:
        raise CheckpointError(f"{path}: its metadata's {SAME_PERSON} is {said!r}; a number between -1 and 1 is needed")
    return cosine


def _read(path: Path) -> ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise CheckpointError(f"{path} is not an ONNX file (is it whole, and not Git LFS's pointer?)") from error


def model_input(model: ModelProto, path: Path) -> ValueInfoProto:
    """Return the input that is not a weight."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise CheckpointError(f"{path}: one input expected, found {[value.name for value in inputs]}")
    return inputs[0]
