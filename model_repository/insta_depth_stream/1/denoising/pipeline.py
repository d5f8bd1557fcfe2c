"""The story of one request: from what came in to the picture that goes out."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from insta_depth_shared.bls import Array
from insta_depth_shared.errors import Cancelled, InstaDepthError, InvalidInput, NoFace, Overloaded
from insta_depth_shared.manifest import Manifest
from insta_depth_shared.marks import Mark, parameters_line
from insta_depth_shared.pictures import PictureLimits, decode_picture, encode_picture, resize_for_model

from .conditioning import Conditioning, face_region_mask
from .control_pictures import CONTROL_PICTURES, Pose, depth_picture
from .faces import SentPicture, check_one_person, find_face, find_identity
from .loop import Denoising, preview
from .metrics import Metrics
from .networks import (
    Face,
    Networks,
    decode_latents,
    encode_image,
    encode_prompts,
    predict_depth,
    project_face,
)
from .refining import (
    SURROUNDINGS,
    Square,
    closer_pose,
    find_made_face,
    is_small,
    preview_within,
    put_back,
)
from .request import PipelineRequest, parse
from .response_cache import CachedNetworks
from .schedulers import prepare_scheduler
from .settings import Settings
from .sharing import Sharing
from .step_batcher import StepBatcher
from .together import together
from .trajectory import PictureStart
from .warnings import warnings_of

PREVIEW_QUALITY = 80


@dataclass(frozen=True)
class Progress:
    """Step ``step`` of ``step_count`` is done, and ``ahead`` other requests are served before the next one.

    ``preview``, where the request wants one: a small JPEG file, or its base64 text.
    """

    step: int
    step_count: int
    preview: bytes | None = None
    ahead: int = 0


@dataclass(frozen=True)
class PipelineOutput:
    """The answer. ``image``: the file, or its base64 text. ``timings_ms`` by stage.

    ``has_pose_face``: False where the pose came from depth alone. ``is_refined``: whether a second pass over the face
    was made. ``warnings``: sentences for the caller.
    """

    image: bytes
    seed: int
    timings_ms: dict[str, float]
    has_pose_face: bool
    is_refined: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """A finished picture, (H, W, 3) uint8 RGB; ``is_refined``: whether the second pass was made."""

    image: np.ndarray
    is_refined: bool = False
    warnings: tuple[str, ...] = ()


def _as_it_is(image: np.ndarray) -> np.ndarray:
    return image


@dataclass(frozen=True)
class Pass:
    """One run through the steps. ``start``: the picture that it starts from; None: noise.

    ``steps_before``: taken by earlier passes of the request. ``whole``: a preview of the pass → of the whole picture.
    """

    scheduler: Any
    conditioning: Conditioning
    start: PictureStart | None = None
    steps_before: int = 0
    whole: Callable[[np.ndarray], np.ndarray] = _as_it_is


class ProgressListener(Protocol):
    """Hears of a request's progress, and knows whether its picture is still wanted."""

    def is_cancelled(self) -> bool:
        """Whether the picture is no longer wanted."""
        ...

    def on_progress(self, progress: Progress) -> None:
        """Hear of a finished step, or of the requests ahead."""
        ...


@dataclass
class Stopwatch:
    """Times the stages of one request, one after the other."""

    started: float = field(default_factory=time.perf_counter)
    laps_ms: dict[str, float] = field(default_factory=dict)

    @property
    def total_ms(self) -> float:
        """Since the start."""
        return (time.perf_counter() - self.started) * 1000

    def lap(self, stage: str) -> None:
        """Note the time since the last lap as that of ``stage``."""
        self.laps_ms[stage] = self.total_ms - sum(self.laps_ms.values())

    def timings_ms(self) -> dict[str, float]:
        """Return the stages and their total, to a microsecond."""
        timings = {**self.laps_ms, "total": self.total_ms}
        return {stage: round(duration, 3) for stage, duration in timings.items()}


class Pipeline:
    """Turns requests into pictures, as many at once as the settings allow.

    ``depth_processor``: (H, W, 3) uint8 RGB → the depth estimator's pixel_values, as `DepthProcessor` makes them.
    ``device``: where latents and conditioning stay from the first noise to the VAE.
    """

    def __init__(
        self,
        networks: Networks,
        manifest: Manifest,
        settings: Settings,
        depth_processor: Callable[[np.ndarray], np.ndarray],
        metrics: Metrics,
        device: torch.device,
    ) -> None:
        self._networks = CachedNetworks(networks, settings.cache_bytes)
        self._manifest = manifest
        self._settings = settings
        self._depth_processor = depth_processor
        self._metrics = metrics
        self._device = device
        self._step_batcher = StepBatcher(networks, Sharing(settings.max_rows, settings.rows_per_step), metrics)
        self._limits = PictureLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._dtype = np.dtype(manifest.numpy_dtype)
        self._in_flight = 0
        # The VAE's activations and the depth estimator's are the largest beside those of the steps: not both at once.
        # Not left to Triton's rate limiter, which stops for ever under BLS (triton-inference-server/core, PR 448).
        self._large_activations = asyncio.Lock()

    async def generate(self, tensors: Mapping[str, np.ndarray], listener: ProgressListener) -> PipelineOutput:
        """Answer one request; raises `InstaDepthError` for whatever it must not or cannot do."""
        clock = Stopwatch()
        with self._counted():
            request = parse(tensors, self._manifest, self._settings)
            with self._admitted():
                return await self._generate(request, listener, clock)

    async def _generate(self, request: PipelineRequest, listener: ProgressListener, clock: Stopwatch) -> PipelineOutput:
        scheduler = self._scheduler(request)
        clock.lap("queue")
        face_pictures, pose_picture = await self._decode_pictures(request)
        clock.lap("decode_inputs")
        _raise_if_cancelled(listener)
        conditioning, pose = await self._condition(request, face_pictures, pose_picture)
        clock.lap("conditioning")
        latents = await self._denoise(request, Pass(scheduler, conditioning), listener)
        clock.lap("denoise")
        made = Made(await self._decode_latents(latents))
        clock.lap("decode")
        _raise_if_cancelled(listener)
        if request.refine_face != "never":
            made = await self._refine(request, made.image, conditioning, pose, listener)
            clock.lap("refine")
            _raise_if_cancelled(listener)
        content = await asyncio.to_thread(self._encode, made, request)
        clock.lap("encode")
        warnings = (*warnings_of(request, scheduler, self._manifest), *made.warnings)
        has_pose_face = pose.face is not None
        return PipelineOutput(content, request.seed, clock.timings_ms(), has_pose_face, made.is_refined, warnings)

    def _scheduler(self, request: PipelineRequest) -> Any:
        name, steps = request.scheduler, request.num_inference_steps
        timesteps = self._manifest.timesteps_of(name, steps)
        scheduler = prepare_scheduler(name, steps, self._manifest.scheduler, timesteps)
        if request.refine_face != "never" and not hasattr(scheduler, "add_noise"):
            raise InvalidInput(f"refine_face: the scheduler {name} cannot start from a picture; never is possible")
        return scheduler

    async def _decode_pictures(self, request: PipelineRequest) -> tuple[list[SentPicture], SentPicture]:
        pose = asyncio.to_thread(self._decode_picture, "pose_image", request.pose_image, request.max_side)
        faces, pose_picture = await together(self._decode_faces(request), pose)
        return faces, pose_picture

    async def _decode_faces(self, request: PipelineRequest) -> list[SentPicture]:
        """One after the other: a picture takes all its pixels until it is resized."""
        return [
            await asyncio.to_thread(self._decode_picture, name, data, request.max_side)
            for name, data in zip(request.face_names, request.face_image, strict=True)
        ]

    def _decode_picture(self, name: str, data: bytes, max_side: int) -> SentPicture:
        facts = self._manifest.image
        decode = partial(decode_picture, data, name, self._limits)
        picture = decode()
        if name == "pose_image":  # the depth estimator's engine ends there, and nothing else minds
            _check_proportions(picture, name, facts.max_aspect)
        resized = resize_for_model(picture, facts.min_side, max_side, facts.multiple)
        return SentPicture(resized, picture.shape[:2], decode)

    async def _condition(
        self, request: PipelineRequest, face_pictures: Sequence[SentPicture], pose_picture: SentPicture
    ) -> tuple[Conditioning, Pose]:
        """Return what the picture is made from, and what the pose picture shows."""
        face_tokens, pose_face, text, depth = await together(
            self._face_tokens(face_pictures, request),
            self._pose_face(pose_picture, request.pose_without_face),
            encode_prompts(self._networks, request, self._manifest),
            self._depth(pose_picture.resized),
        )
        pose = Pose(pose_picture.resized, pose_face, depth)
        conditioning = Conditioning(
            encoder_hidden_states=text.encoder_hidden_states,
            text_embeds=text.text_embeds,
            prompt_image_emb=face_tokens,
            pictures=self._control_pictures(pose),
            region_mask=_region_mask(request, pose),
            scales=_scales(request, self._manifest.denoise_step_inputs, has_pose_face=pose_face is not None),
        )
        return conditioning, pose

    def _control_pictures(self, pose: Pose) -> dict[str, Array]:
        taken = self._manifest.denoise_step_inputs
        return {name: make(pose) for name, make in CONTROL_PICTURES.items() if name in taken}

    async def _face_tokens(self, pictures: Sequence[SentPicture], request: PipelineRequest) -> torch.Tensor:
        """Of several pictures, the mean of the embeddings as they are, as InstantID's authors advise (its issue 27)."""
        names = request.face_names
        embeddings = [await self._identity(*each) for each in zip(pictures, names, strict=True)]
        if len(embeddings) > 1 and request.face_mismatch == "error":
            check_one_person(embeddings, names, self._manifest.face.same_person_cosine)
        embedding = np.mean(embeddings, axis=0)
        return await project_face(self._networks, embedding, request.is_guided, self._dtype, self._device)

    async def _identity(self, picture: SentPicture, name: str) -> np.ndarray:
        face = await find_identity(self._networks, picture, name, self._manifest.face.min_face_px)
        if face is None:
            raise NoFace(f"{name}: no face found; a picture with at least one face is needed")
        return face.embedding

    async def _pose_face(self, picture: SentPicture, without_face: str) -> Face | None:
        face = await find_face(self._networks, picture)
        if face is None and without_face == "error":
            raise NoFace(
                "pose_image: no face found; a picture with at least one face is needed "
                'unless you set pose_without_face to "depth_only"'
            )
        return face

    async def _depth(self, picture: np.ndarray) -> torch.Tensor:
        """Return the depth of ``picture``, (H, W, 3) uint8 RGB, as (3, H, W) in [0, 1]."""
        pixel_values = await asyncio.to_thread(self._depth_processor, picture)
        async with self._large_activations:
            predicted = await predict_depth(self._networks, pixel_values, self._dtype, self._device)
        height_px, width_px = picture.shape[:2]
        is_distance = self._manifest.depth.is_distance
        return await asyncio.to_thread(depth_picture, predicted, height_px, width_px, is_distance)

    async def _denoise(self, request: PipelineRequest, run: Pass, listener: ProgressListener) -> torch.Tensor:
        """Return the finished latents, (1, C, h, w) float32."""
        rows = run.conditioning.rows(self._manifest.denoise_step_inputs, self._device)
        size_px = run.conditioning.size_px
        denoising = Denoising(request, run.scheduler, rows, size_px, self._manifest, run.start)

        def progress(denoising: Denoising, **more: Any) -> Progress:
            before = run.steps_before
            return Progress(before + denoising.step, before + denoising.step_count, **more)

        def on_step(denoising: Denoising) -> None:
            picture = self._preview(run.whole(preview(denoising, self._manifest)), request) if request.preview else None
            listener.on_progress(progress(denoising, preview=picture))

        def on_wait(denoising: Denoising, ahead: int) -> None:
            listener.on_progress(progress(denoising, ahead=ahead))

        await self._step_batcher.run(denoising, on_step, listener.is_cancelled, on_wait)
        return denoising.latents

    async def _decode_latents(self, latents: torch.Tensor) -> np.ndarray:
        async with self._large_activations:
            return await decode_latents(self._networks, latents)

    async def _refine(
        self,
        request: PipelineRequest,
        image: np.ndarray,
        conditioning: Conditioning,
        pose: Pose,
        listener: ProgressListener,
    ) -> Made:
        """Denoise the face's surroundings once more, enlarged, under the same conditions; see `refining`."""
        side = self._manifest.image.refined_side
        face = await find_made_face(self._networks, image, pose.face, side)
        if face is None:
            return Made(image, warnings=("refine_face: the finished picture shows no face, and was left as it is",))
        if request.refine_face == "auto" and not is_small(face, image):
            return Made(image)
        square = Square.around(face, SURROUNDINGS, image.shape[:2], most=side)
        closer = closer_pose(pose, square, side)
        closer = replace(closer, depth=await self._depth(closer.image))
        async with self._large_activations:
            encoded = await encode_image(self._networks, square.enlarged(image, side), self._device)
        closer_conditioning = replace(
            conditioning, pictures=self._control_pictures(closer), region_mask=_region_mask(request, closer)
        )
        scheduler, cell_px = self._scheduler(request), self._manifest.latents.scale_factor
        second = Pass(
            scheduler,
            closer_conditioning,
            PictureStart(*encoded, request.refine_strength),
            len(scheduler.timesteps),
            lambda shown: preview_within(image, square, shown, cell_px),
        )
        latents = await self._denoise(request, second, listener)
        return Made(put_back(image, square, await self._decode_latents(latents)), is_refined=True)

    def _preview(self, image: np.ndarray, request: PipelineRequest) -> bytes:
        mark = None if self._settings.metadata == "none" else Mark()
        return _as_wanted(encode_picture(image, "jpeg", PREVIEW_QUALITY, mark), request)

    def _encode(self, made: Made, request: PipelineRequest) -> bytes:
        mark = _mark(self._settings.metadata, request, made)
        return _as_wanted(encode_picture(made.image, request.output_format, request.output_quality, mark), request)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Hold one of the places in flight; raises `Overloaded` where there is none."""
        limit = self._settings.max_requests
        if self._in_flight >= limit:
            raise Overloaded(f"{limit} requests are in flight, the maximum; try again later")
        self._in_flight += 1
        try:
            self._metrics.requests_in_flight(self._in_flight)
            yield
        finally:
            self._in_flight -= 1
            self._metrics.requests_in_flight(self._in_flight)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count how the request ends."""
        outcome = InstaDepthError.code
        try:
            yield
            outcome = "OK"
        except InstaDepthError as error:
            outcome = error.code
            raise
        finally:
            self._metrics.request_ended(outcome.lower())


def _mark(metadata: str, request: PipelineRequest, made: Made) -> Mark | None:
    """Return what the file says; never a prompt, and nothing of the pictures."""
    if metadata != "parameters":
        return None if metadata == "none" else Mark()
    height, width = made.image.shape[:2]
    values = {
        "Steps": request.num_inference_steps,
        "Sampler": request.scheduler,
        "CFG scale": f"{request.guidance_scale:g}",
        "Seed": request.seed,
        "Size": f"{width}x{height}",
        "IP-Adapter scale": f"{request.ip_adapter_scale:g}",
        "IdentityNet scale": f"{request.identitynet_scale:g}",
        "Depth scale": f"{request.depth_scale:g}",
        **({"Face refined at": f"{request.refine_strength:g}"} if made.is_refined else {}),
    }
    return Mark(parameters_line(values))


def _as_wanted(content: bytes, request: PipelineRequest) -> bytes:
    return b64encode(content) if request.base64 else content


def _region_mask(request: PipelineRequest, pose: Pose) -> np.ndarray:
    region = pose.face.bbox if pose.face and request.enhance_face_region else None
    return face_region_mask(region, *pose.image.shape[:2])


def _scales(request: PipelineRequest, step_inputs: Iterable[str], has_pose_face: bool) -> dict[str, float]:
    """Return the scales that ``denoise_step`` takes; without a face there is nothing for IdentityNet to draw."""
    scales = {name: getattr(request, name) for name in step_inputs if name.endswith("_scale")}
    return scales if has_pose_face else {**scales, "identitynet_scale": 0.0}


def _check_proportions(picture: np.ndarray, field: str, maximum: float) -> None:
    height, width = picture.shape[:2]
    if max(height, width) > maximum * min(height, width):
        raise InvalidInput(
            f"{field}: {width}×{height} pixels; the longer side may be {maximum:g} times the shorter one at most"
        )


def _raise_if_cancelled(listener: ProgressListener) -> None:
    if listener.is_cancelled():
        raise Cancelled("cancelled between two stages")
