"""The diffusion networks' training inputs: latents, tokens, keypoints, faces and depth, computed once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer, PreTrainedModel

from ..architecture import DepthConfig
from ..pixels import to_model
from .depth import estimate
from .loop import autocast
from .pictures import Arrays, TrainingPictures, derived, load
from .recognizer import cut_face


@dataclass(frozen=True)
class Annotators:
    """The trained networks that annotate pictures."""

    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    depth: PreTrainedModel
    depth_config: DepthConfig
    embed: Callable[[np.ndarray], np.ndarray]
    """Faces (N, 112, 112, 3) uint8 RGB → the recogniser's raw embeddings (N, size) float32."""


class Examples:
    """All parts' arrays in memory; a batch is of one part, so of one size."""

    def __init__(self, parts: list[Arrays]) -> None:
        self._parts = parts

    def draw(self, rng: np.random.Generator, count: int) -> Arrays:
        """Return ``count`` examples of one part, by the names of its arrays."""
        part = self._parts[rng.integers(len(self._parts))]
        index = rng.integers(len(part["latents"]), size=count)
        return {name: array[index] for name, array in part.items()}


def with_text(pictures: TrainingPictures, annotators: Annotators) -> Examples:
    """Return examples of ``latents`` (N, 4, h, w) float16, unscaled, and ``tokens`` (N, 2, 77) int16."""
    return Examples(derived(pictures, "text", lambda part: _text(pictures, part, annotators)))


def with_conditions(pictures: TrainingPictures, annotators: Annotators) -> Examples:
    """Return the same with ``keypoints``, ``box``, ``face``, ``own_depth`` and ``twin_depth``.

    ``face`` (N, 512) is from another picture of the person; the depths, (N, H, W) uint8, are estimated from the
    picture and from one of another person in the same pose.
    """
    texts = derived(pictures, "text", lambda part: _text(pictures, part, annotators))
    conditions = derived(pictures, "conditions", lambda part: _conditions(pictures, part, annotators))
    return Examples([text | more for text, more in zip(texts, conditions, strict=True)])


@torch.no_grad()
def _text(pictures: TrainingPictures, part: int, annotators: Annotators) -> Arrays:
    arrays = load(pictures, part, "image", "prompt")
    images = torch.from_numpy(arrays["image"]).permute(0, 3, 1, 2)
    vae = annotators.vae
    with autocast(vae.device):
        means = [vae.encode(to_model(chunk.to(vae.device))).latent_dist.mean for chunk in images.split(32)]
    sentences = arrays["prompt"].flatten().tolist()
    tokens = annotators.tokenizer(sentences, padding="max_length", truncation=True, return_tensors="np").input_ids
    return {
        "latents": torch.cat(means).half().cpu().numpy(),
        "tokens": tokens.reshape(*arrays["prompt"].shape, -1).astype(np.int16),
    }


def _conditions(pictures: TrainingPictures, part: int, annotators: Annotators) -> Arrays:
    arrays = load(pictures, part, "image", "twin", "keypoints", "box", "person", "plain")
    faces = np.stack([cut_face(*pair) for pair in zip(arrays["image"], arrays["keypoints"], strict=True)])
    depths = {
        name: estimate(annotators.depth, annotators.depth_config, arrays[source])
        for name, source in (("own_depth", "image"), ("twin_depth", "twin"))
    }
    others = _others(arrays["person"], arrays["plain"], np.random.default_rng([pictures.seed, part]))
    face = annotators.embed(faces)[others].astype(np.float16)
    return {"keypoints": arrays["keypoints"], "box": arrays["box"], "face": face, **depths}


def _others(person: np.ndarray, plain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each picture, return another one of the same person: a flawless photo."""
    chosen = []
    for index in range(len(person)):
        others = np.flatnonzero((person == person[index]) & plain & (np.arange(len(person)) != index))
        chosen.append(rng.choice(others) if len(others) else index)
    return np.array(chosen)
