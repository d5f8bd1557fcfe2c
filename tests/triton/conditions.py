"""What the served models read off a pair of pictures, for handing the very same to the reference pipeline."""

import io
from pathlib import Path

import numpy as np
import torch
from denoising.conditioning import DepthProcessor
from denoising.control_pictures import depth_picture, draw_face_keypoints
from PIL import Image
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

from insta_depth_shared.manifest import Manifest
from insta_depth_shared.pictures import resize_for_model
from tests.reference.pipeline import Conditions


def infer(url: str, model: str, inputs: dict[str, np.ndarray], output: str) -> np.ndarray:
    """Call one model of the server and return one of its outputs."""
    tensors = []
    for name, value in inputs.items():
        tensor = InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
        tensor.set_data_from_numpy(value)
        tensors.append(tensor)
    with InferenceServerClient(url) as client:
        return client.infer(model, tensors).as_numpy(output)


def conditions_of(
    url: str, repository: Path, face: bytes, pose: bytes, region: bool, max_side: int | None = None
) -> Conditions:
    """Return what the server sees in the two pictures; ``region``: whether the face region is on."""
    orchestrator = repository / "insta_depth_stream" / "1"
    manifest = Manifest.load(orchestrator)
    sizes = manifest.image

    def resized(data: bytes) -> np.ndarray:
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return resize_for_model(image, sizes.min_side, max_side or sizes.max_side, sizes.multiple)

    image = resized(pose)
    height, width = image.shape[:2]
    pixels = DepthProcessor(orchestrator / "depth_processor")(image)
    predicted = infer(url, "depth_estimator", {"pixel_values": pixels.astype(manifest.numpy_dtype)}, "predicted_depth")
    return Conditions(
        embedding=infer(url, "face_analysis", {"image": resized(face)}, "embedding"),
        keypoints=draw_face_keypoints(infer(url, "face_analysis", {"image": image}, "keypoints"), height, width),
        depth=np.ascontiguousarray(depth_picture(torch.tensor(predicted), height, width)),
        box=infer(url, "face_analysis", {"image": image}, "bbox") if region else None,
    )
