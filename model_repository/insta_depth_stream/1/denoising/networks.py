"""The networks around the loop, each called by its name in the model repository."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from insta_depth_shared.bls import Array
from insta_depth_shared.errors import InvalidInput
from insta_depth_shared.manifest import Manifest

from .request import PipelineRequest
from .together import together


class Networks(Protocol):
    """Whatever runs the models: Triton, ONNX Runtime in this process, or a test's fakes."""

    async def call(self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Run ``model`` once and return its ``outputs`` by name, in host memory; raises `InstaDepthError`."""
        ...

    async def call_on(
        self, device: torch.device, model: str, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """Do as `call` does, and return tensors on ``device``; those that are there already are not copied."""
        ...


@dataclass(frozen=True)
class Face:
    """The largest face of a picture, in that picture's pixels."""

    bbox: np.ndarray
    """(4,) float32: x1, y1, x2, y2"""
    keypoints: np.ndarray
    """(5, 2) float32: x, y in SCRFD's order"""
    embedding: np.ndarray
    """(512,) float32, as it leaves the recognizer, not normalised"""

    @property
    def width_px(self) -> float:
        """Of the box."""
        return float(self.bbox[2] - self.bbox[0])

    @property
    def height_px(self) -> float:
        """Of the box."""
        return float(self.bbox[3] - self.bbox[1])

    @property
    def middle(self) -> np.ndarray:
        """(2,) float32: x, y of the box's middle."""
        return (self.bbox[:2] + self.bbox[2:]) / 2

    def scaled(self, horizontally: float, vertically: float) -> "Face":
        """Return the face as it lies in the picture scaled by these factors."""
        factors = np.array([horizontally, vertically], np.float32)
        return replace(self, bbox=self.bbox * np.tile(factors, 2), keypoints=self.keypoints * factors)

    def moved(self, x: float, y: float) -> "Face":
        """Return the face where its picture lies at (x, y) of another one."""
        offset = np.array([x, y], np.float32)
        return replace(self, bbox=self.bbox + np.tile(offset, 2), keypoints=self.keypoints + offset)


async def analyse_face(networks: Networks, image: np.ndarray) -> Face | None:
    """Return the largest face of ``image``, (H, W, 3) uint8 RGB, or None."""
    found = await networks.call("face_analysis", {"image": image}, ["face_count", "bbox", "keypoints", "embedding"])
    if found["face_count"].item() == 0:
        return None
    return Face(found["bbox"], found["keypoints"], found["embedding"])


async def project_face(
    networks: Networks, embedding: np.ndarray, is_guided: bool, dtype: np.dtype, device: torch.device
) -> torch.Tensor:
    """Return the face tokens, (R, 16, X): of no face (a zero embedding) for the negative row, then of this one."""
    rows = [np.zeros_like(embedding), embedding] if is_guided else [embedding]
    inputs = {"face_emb": np.stack(rows).astype(dtype)}
    return (await networks.call_on(device, "identity_projector", inputs, ["prompt_image_emb"]))["prompt_image_emb"]


async def predict_depth(
    networks: Networks, pixel_values: np.ndarray, dtype: np.dtype, device: torch.device
) -> torch.Tensor:
    """Return predicted_depth, (1, h, w), of prepared ``pixel_values``, (1, 3, h, w)."""
    inputs = {"pixel_values": pixel_values.astype(dtype)}
    return (await networks.call_on(device, "depth_estimator", inputs, ["predicted_depth"]))["predicted_depth"]


async def decode_latents(networks: Networks, latents: torch.Tensor) -> np.ndarray:
    """Return the picture, (H, W, 3) uint8 RGB, of finished ``latents``, (1, C, h, w), wherever they lie."""
    return (await networks.call("vae_decoder", {"latents": latents}, ["image"]))["image"][0]


async def encode_image(
    networks: Networks, image: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of the latents, (1, C, h, w) float32 each, of a square (S, S, 3) uint8 RGB."""
    made = await networks.call_on(device, "vae_encoder", {"image": image[None]}, ["mean", "std"])
    return made["mean"], made["std"]


@dataclass(frozen=True)
class TextRows:
    """Text as the UNet reads it, in rows [negative, positive], or [positive] alone."""

    encoder_hidden_states: np.ndarray
    """(R, T, X)"""
    text_embeds: np.ndarray
    """(R, P)"""


@dataclass(frozen=True)
class _Text:
    """One encoded prompt: embeds (T, X), pooled (P,), T being 77 tokens a window."""

    embeds: np.ndarray
    pooled: np.ndarray
    windows: int

    @property
    def zeros(self) -> "_Text":
        """Zero embeddings: what stands for no negative prompt in checkpoints that were trained with zeros there."""
        return _Text(np.zeros_like(self.embeds), np.zeros_like(self.pooled), self.windows)


async def encode_prompts(networks: Networks, request: PipelineRequest, manifest: Manifest) -> TextRows:
    """Encode the prompt and, with guidance, the negative one, to the same number of tokens."""
    if not request.is_guided:
        return _rows(await _encode(networks, "prompt", request.prompt))
    if request.negative_prompt is None and manifest.text.force_zeros_for_empty_prompt:
        positive = await _encode(networks, "prompt", request.prompt)
        return _rows(positive.zeros, positive)
    return _rows(*await _encode_alike(networks, request.negative_prompt or "", request.prompt))


async def _encode_alike(networks: Networks, negative_prompt: str, prompt: str) -> list[_Text]:
    prompts = {"negative_prompt": negative_prompt, "prompt": prompt}
    texts = await together(*(_encode(networks, field, text) for field, text in prompts.items()))
    longest = max(text.windows for text in texts)
    return [
        encoded if encoded.windows == longest else await _encode(networks, field, text, longest)
        for (field, text), encoded in zip(prompts.items(), texts, strict=True)
    ]


async def _encode(networks: Networks, field: str, text: str, min_windows: int = 1) -> _Text:
    inputs = {
        "text": np.array([text.encode()], dtype=np.object_),
        "min_windows": np.array([min_windows], np.int32),
    }
    outputs = ["prompt_embeds", "pooled_prompt_embeds", "token_windows"]
    try:
        encoded = await networks.call("prompt_encoder", inputs, outputs)
    except InvalidInput as error:
        raise type(error)(error.message.replace("text:", f"{field}:", 1)) from error
    embeds, pooled, windows = (encoded[name] for name in outputs)
    return _Text(embeds.reshape(-1, embeds.shape[-1]), pooled.reshape(-1), windows.item())


def _rows(*texts: _Text) -> TextRows:
    return TextRows(np.stack([text.embeds for text in texts]), np.stack([text.pooled for text in texts]))
