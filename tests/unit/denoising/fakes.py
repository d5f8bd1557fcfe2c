"""A small world for the loop: a manifest, a request and networks that are plain functions of their rows."""

import asyncio
import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from denoising import SCHEDULERS, Conditioning, Denoising, Metrics, PipelineRequest, Progress, prepare_scheduler
from denoising.request import WINDOWED
from PIL import Image

from insta_depth_shared.errors import TooLarge
from insta_depth_shared.manifest import FaceFacts, ImageFacts, LatentFacts, Manifest, TextFacts

EULER_CONFIG = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
STEP_INPUTS = (
    "sample",
    "timestep",
    "encoder_hidden_states",
    "prompt_image_emb",
    "face_keypoints",
    "depth",
    "region_mask",
    "text_embeds",
    "time_ids",
    "identitynet_scale",
    "depth_scale",
    "ip_adapter_scale",
)
WINDOW = 77
WIDTH = 8
RED = (255, 0, 0)
"""A red picture has a face in this world."""


def make_manifest(force_zeros: bool = True, dtype: str = "float32") -> Manifest:
    return Manifest(
        checkpoint="fake",
        precision="fp32",
        image=ImageFacts(min_side=64, max_side=128),
        latents=LatentFacts(4, 8, 0.13, [[0.1, 0, 0, 0], [0, 0.1, 0, 0], [0, 0, 0.1, 0]], [0.5, 0.5, 0.5]),
        text=TextFacts(WINDOW, WIDTH, 6, force_zeros, max_windows=3),
        face=FaceFacts(512, 16, [640]),
        scheduler=EULER_CONFIG,
        schedulers=list(SCHEDULERS),
        denoise_step_inputs=dict.fromkeys(STEP_INPUTS, dtype),
        can_refine=True,
    )


def make_request(**changes: Any) -> PipelineRequest:
    values = {
        "prompt": "a knight",
        "negative_prompt": None,
        "face_image": (b"",),
        "pose_image": b"",
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "seed": 1,
        "base64": False,
        "ip_adapter_scale": 0.8,
        "identitynet_scale": 0.7,
        "depth_scale": 0.5,
        "scheduler": "euler",
        "enhance_face_region": True,
        "pose_without_face": "error",
        "face_mismatch": "error",
        **{f"{control}_{edge}": share for control in WINDOWED for edge, share in (("start", 0.0), ("end", 1.0))},
        "guidance_end": 1.0,
        "speed": "exact",
        "refine_face": "never",
        "refine_strength": 0.4,
        "max_side": 128,
        "output_format": "png",
        "output_quality": 95,
        "preview": False,
    }
    return PipelineRequest(**(values | changes))


HOST = torch.device("cpu")


def make_denoising(
    size_px: tuple[int, int] = (64, 64), windows: int = 1, device: torch.device = HOST, **changes: Any
) -> Denoising:
    request, manifest = make_request(**changes), make_manifest()
    rng = np.random.default_rng(request.seed)
    rows = 2 if request.is_guided else 1
    conditioning = Conditioning(
        encoder_hidden_states=rng.random((rows, windows * WINDOW, WIDTH)),
        text_embeds=rng.random((rows, 6)),
        prompt_image_emb=torch.from_numpy(rng.random((rows, 16, WIDTH))),
        pictures={
            "face_keypoints": rng.random((3, *size_px)),
            "depth": torch.from_numpy(rng.random((3, *size_px))),
        },
        region_mask=np.ones((1, *size_px)),
        scales={name: getattr(request, name) for name in STEP_INPUTS if name.endswith("_scale")},
    )
    scheduler = prepare_scheduler(request.scheduler, request.num_inference_steps, manifest.scheduler)
    rows_in = conditioning.rows(manifest.denoise_step_inputs, device)
    return Denoising(request, scheduler, rows_in, size_px, manifest)


def predict_noise(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A network in which every input matters and no row knows of another."""
    return torch.from_numpy(_noise({name: value.numpy() for name, value in inputs.items()}))


def _noise(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.stack([_row_of_noise({name: value[row] for name, value in inputs.items()}) for row in _rows(inputs)])


def _rows(inputs: Mapping[str, np.ndarray]) -> range:
    (count,) = {len(value) for value in inputs.values()}
    return range(count)


def _row_of_noise(row: Mapping[str, np.ndarray]) -> np.ndarray:
    others = sum(np.tanh(value.mean()) for name, value in row.items() if name not in ("sample", "timestep"))
    return (np.tanh(row["sample"]) * 0.5 + others * 0.05 + row["timestep"] * 1e-4).astype(np.float32)


class FakeNetworks:
    """Answers every call at once, keeps the calls, and fails where it is told to."""

    def __init__(self, step: Callable[[Mapping[str, torch.Tensor]], torch.Tensor] = predict_noise) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.before_step: Callable[[], Any] = lambda: None
        self._step = step

    def inputs_of(self, model: str) -> list[dict[str, Any]]:
        return [inputs for name, inputs in self.calls if name == model]

    async def call(self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        self.calls.append((model, dict(inputs)))
        await asyncio.sleep(0)
        return getattr(self, f"_{model}")(inputs)

    async def call_on(
        self, device: torch.device, model: str, inputs: Mapping[str, Any], outputs: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        answer = await self.call(model, inputs, outputs)
        return {name: torch.as_tensor(value).to(device) for name, value in answer.items()}

    def _denoise_step(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        self.before_step()
        return {"noise_pred": self._step(inputs)}

    def _face_analysis(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        height, width = inputs["image"].shape[:2]
        is_red = bool((inputs["image"][0, 0] > (200, -1, -1)).all() and inputs["image"][0, 0, 1] < 50)
        keypoints = np.array([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.6, 0.6]]) * (width, height)
        return {
            "face_count": np.array([is_red], np.int32),
            "bbox": np.array([width * 0.25, height * 0.25, width * 0.75, height * 0.75], np.float32) * is_red,
            "keypoints": keypoints.astype(np.float32) * is_red,
            "embedding": np.full(512, 0.3 * is_red, np.float32),
        }

    def _prompt_encoder(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        text = inputs["text"][0].decode()
        windows = max(1 + len(text.split()) // 75, int(inputs["min_windows"][0]))
        if windows > 3:
            raise TooLarge(f"text: {windows} windows are above the maximum 3")
        value = 1 + len(text) / 100
        return {
            "prompt_embeds": np.full((windows * WINDOW, WIDTH), value, np.float32),
            "pooled_prompt_embeds": np.full(6, value, np.float32),
            "token_windows": np.array([windows], np.int32),
        }

    def _identity_projector(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tokens = inputs["face_emb"].mean(axis=1, keepdims=True) + 1
        return {"prompt_image_emb": np.broadcast_to(tokens[..., None], (len(tokens), 16, WIDTH)).copy()}

    def _depth_estimator(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        height, width = inputs["pixel_values"].shape[2:]
        return {"predicted_depth": np.linspace(0, 5, height * width, dtype=np.float32).reshape(1, height, width)}

    def _vae_encoder(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        colours = inputs["image"][:, ::8, ::8].transpose(0, 3, 1, 2).astype(np.float32)
        mean = np.concatenate([(colours - 128) / 20, np.zeros_like(colours[:, :1])], axis=1)
        return {"mean": mean, "std": np.full_like(mean, 0.01)}

    def _vae_decoder(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        colours = (inputs["latents"].numpy()[:, :3].transpose(0, 2, 3, 1) * 20 + 128).clip(0, 255).astype(np.uint8)
        return {"image": colours.repeat(8, axis=1).repeat(8, axis=2)}


def prepared_for_depth(image: np.ndarray) -> np.ndarray:
    """Stand in for the depth estimator's processor."""
    return image.transpose(2, 0, 1)[None].astype(np.float32)


class CountingMetrics(Metrics):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.in_flight: list[int] = []
        self.outcomes: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def requests_in_flight(self, count: int) -> None:
        self.in_flight.append(count)

    def request_ended(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    def step_called(self, rows: int, rows_in_flight: int) -> None:
        self.steps.append((rows, rows_in_flight))


class PatientAudience:
    """Stays for as long as ``patience`` questions."""

    def __init__(self, patience: float = float("inf")) -> None:
        self.progress: list[Progress] = []
        self._patience = patience

    def is_cancelled(self) -> bool:
        self._patience -= 1
        return self._patience < 0

    def on_progress(self, progress: Progress) -> None:
        self.progress.append(progress)


def picture(colour: tuple[int, int, int] = RED, width: int = 100, height: int = 80) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "png")
    return buffer.getvalue()


def make_tensors(**changes: Any) -> dict[str, np.ndarray]:
    """Return a valid request as Triton hands it over; a value of None leaves the input out."""
    values = {"prompt": "a knight", "face_image": picture(), "pose_image": picture(), "seed": 7, **changes}
    return {name: tensor(name, value) for name, value in values.items() if value is not None}


def tensor(name: str, value: Any) -> np.ndarray:
    match value:
        case list():
            return np.concatenate([tensor(name, each) for each in value])
        case bool():
            return np.array([value])
        case str() | bytes():
            return np.array([value.encode() if isinstance(value, str) else value], np.object_)
        case _ if name == "seed":
            return np.array([value], np.int64)
        case _ if name.endswith(("_scale", "_start", "_end", "_strength")):
            return np.array([value], np.float32)
        case _:
            return np.array([value], np.int32)


def opened(content: bytes, is_text: bool = False) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content) if is_text else content)))
