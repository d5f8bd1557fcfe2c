"""Whether the face models are SCRFD with keypoints and ArcFace: both are run once, on a grey picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from ..checkpoint import Checkpoint
from ..checkpoint.files import check_readable, first_line
from ..errors import CheckpointError
from ..face_inputs import detector_sides, recognizer_rows
from ..parity import open_session

STRIDES = (8, 16, 32)
_ANCHORS = 2
_WIDTHS = {"scores": 1, "boxes": 4, "keypoints": 10}
_CROP = (3, 112, 112)


@dataclass(frozen=True)
class FaceModels:
    """What the two files turned out to make."""

    embedding_width: int


def check_faces(checkpoint: Checkpoint) -> FaceModels:
    """Run both models; raises `CheckpointError` where one has other inputs or outputs than the published file."""
    _check_detector(checkpoint.face_detector)
    return FaceModels(_embedding_width(checkpoint.face_recognizer))


def _check_detector(path: Path) -> None:
    session, side = _open(path), detector_sides(path)[-1]
    outputs = _run(path, session, (1, 3, side, side))
    needed = [(_ANCHORS * (side // stride) ** 2, width) for width in _WIDTHS.values() for stride in STRIDES]
    found = [output.shape[-2:] for output in outputs]
    if found != needed:
        raise CheckpointError(
            f"{path} makes {len(found)} outputs of shapes {found[:9]}; SCRFD with keypoints makes {needed} "
            f"(scores, boxes, keypoints, each at strides 8, 16, 32)"
        )


def _embedding_width(path: Path) -> int:
    session, rows = _open(path), recognizer_rows(path) or 1
    outputs = _run(path, session, (rows, *_CROP))
    if len(outputs) != 1 or outputs[0].ndim != 2 or len(outputs[0]) != rows:
        shapes = [output.shape for output in outputs]
        raise CheckpointError(f"{path} makes outputs of shapes {shapes}; one embedding a face is needed")
    return outputs[0].shape[1]


def _open(path: Path) -> ort.InferenceSession:
    check_readable(path)
    recognizer_rows(path)  # names a file that is no ONNX
    try:
        return open_session(path)
    except Exception as error:  # ONNX Runtime has many
        raise CheckpointError(f"{path} cannot be opened by ONNX Runtime: {first_line(error)}") from error


def _run(path: Path, session: ort.InferenceSession, shape: tuple[int, ...]) -> list[np.ndarray]:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{value.name} ({value.type})" for value in inputs)
        raise CheckpointError(f"{path} takes {found}; one float picture is needed")
    picture = np.zeros(shape, np.float32)
    try:
        return session.run(None, {inputs[0].name: picture})
    except Exception as error:
        raise CheckpointError(f"{path} does not take a picture of shape {shape}: {first_line(error)}") from error


def check_face_values(path: Path) -> None:
    """Raise `CheckpointError` where a weight of an ONNX file is NaN or infinite."""
    for tensor in onnx.load(path).graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(f"{path}: the weight {tensor.name} has values that are NaN or infinite")
