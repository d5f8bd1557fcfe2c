"""Looks at pictures through the served networks: face analysis and depth estimator."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from insta_depth.addresses import channel_options
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

from export.in_process import import_models_of

from .cases import Case
from .measures import Sight
from .scores import Score, score

See = Callable[[np.ndarray], Sight]
"""A picture (H, W, 3) uint8 RGB → what is seen in it, as a `Looker` does."""


class Looker:
    """Sees pictures as a request's are seen: resized, then analysed, the same one only once. Close it after use."""

    def __init__(self, grpc_url: str, repository: Path) -> None:
        import_models_of(repository)
        from denoising.conditioning import DepthProcessor

        from insta_depth_shared.manifest import Manifest

        orchestrator = repository / "insta_depth_stream" / "1"
        self._client = InferenceServerClient(grpc_url, channel_args=channel_options(grpc_url))
        self._manifest = Manifest.load(orchestrator)
        self._depth_processor = DepthProcessor(orchestrator / "depth_processor")
        self._seen: dict[tuple[bytes, tuple[int, ...]], Sight] = {}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def resized(self, image: np.ndarray) -> np.ndarray:
        """Return (H, W, 3) uint8 at the size that the service works at."""
        from insta_depth_shared.pictures import resize_for_model

        size = self._manifest.image
        return resize_for_model(image, size.min_side, size.max_side, size.multiple)

    def __call__(self, image: np.ndarray) -> Sight:
        """See a picture (H, W, 3) uint8 RGB; keypoints, box and depth are those of the resized one."""
        name = image.tobytes(), image.shape
        if name not in self._seen:
            self._seen[name] = self._look(self.resized(image))
        return self._seen[name]

    def _look(self, image: np.ndarray) -> Sight:
        face = self._ask("face_analysis", {"image": image}, "face_count", "embedding", "keypoints", "bbox")
        found = face["face_count"].item() > 0
        embedding, keypoints, box = (face[name] if found else None for name in ("embedding", "keypoints", "bbox"))
        return Sight(embedding, keypoints, box, self._depth(image))

    def _depth(self, image: np.ndarray) -> np.ndarray:
        from denoising.control_pictures import depth_picture

        pixels = self._depth_processor(image).astype(self._manifest.numpy_dtype)
        predicted = self._ask("depth_estimator", {"pixel_values": pixels}, "predicted_depth")["predicted_depth"]
        return depth_picture(torch.tensor(predicted), *image.shape[:2])[0].numpy()

    def _ask(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> dict[str, np.ndarray]:
        tensors = []
        for name, value in inputs.items():
            tensor = InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
            tensor.set_data_from_numpy(value)
            tensors.append(tensor)
        result = self._client.infer(model, tensors)
        return {name: result.as_numpy(name) for name in outputs}


def look(see: See, cases: Sequence[Case], images: Sequence[np.ndarray]) -> list[Score]:
    """Score each case's picture; a face has to be told from the next cases'."""
    faces = [see(case.face_picture).embedding for case in cases]
    known = np.stack([np.full(512, 1e-6, np.float32) if face is None else face for face in faces])
    return [
        score(case, image, see(image), see(case.pose_picture), see(case.unseen_face_picture), known, own)
        for own, (case, image) in enumerate(zip(cases, images, strict=True))
    ]
