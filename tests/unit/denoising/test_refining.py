"""The second pass over a small face: what is cut out, how it is put back, and when the pipeline makes it."""

import asyncio
import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from denoising import SCHEDULERS, Pipeline, PipelineOutput, Progress, Settings, prepare_scheduler
from denoising.networks import Face
from denoising.parametrisation import prediction_of, training_of
from denoising.refining import FEATHER, SMALL_SHARE, Square, find_made_face, is_small, preview_within, put_back
from denoising.trajectory import PictureStart, Trajectory, steps_from_picture
from diffusers import StableDiffusionXLControlNetImg2ImgPipeline
from PIL import Image

from insta_depth_shared.errors import Cancelled, InvalidInput
from insta_depth_shared.manifest import Manifest
from tests.unit.denoising.fakes import (
    EULER_CONFIG,
    CountingMetrics,
    FakeNetworks,
    PatientAudience,
    make_manifest,
    make_tensors,
    opened,
    prepared_for_depth,
)


def face(left: float, top: float, width: float, height: float) -> Face:
    box = np.array([left, top, left + width, top + height], np.float32)
    return Face(box, np.tile(box[:2], (5, 1)) + 1, np.ones(512, np.float32))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (face(100, 60, 20, 30), Square(72, 38, 75)),  # 2.5 × 30 around (110, 75)
        (face(0, 0, 20, 30), Square(0, 0, 75)),
        (face(280, 180, 20, 20), Square(250, 150, 50)),
        (face(50, 50, 100, 100), Square(40, 40, 120)),  # no more than asked for
    ],
)
def test_the_square_is_around_the_face_and_within_the_picture(found: Face, expected: Square) -> None:
    assert Square.around(found, 2.5, (200, 300), most=120) == expected


def test_the_square_is_no_larger_than_the_picture() -> None:
    assert Square.around(face(10, 10, 60, 60), 2.5, (80, 300), most=1024) == Square(0, 0, 80)


def test_a_face_in_the_enlarged_square_lies_where_it_lay() -> None:
    square, found = Square(72, 38, 64), face(100, 60, 20, 30)
    inside = square.face_in(found, 128)
    np.testing.assert_allclose(inside.bbox, [56, 44, 96, 104])
    np.testing.assert_allclose(inside.scaled(0.5, 0.5).moved(72, 38).bbox, found.bbox)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(60, 200, shape).astype(np.uint8)


def test_nothing_outside_the_square_changes() -> None:
    image, square = noise(80, 100, 3), Square(30, 20, 40)
    result = put_back(image, square, noise(64, 64, 3))
    outside = np.ones(image.shape[:2], bool)
    square.of(outside)[:] = False
    assert np.array_equal(result[outside], image[outside])
    assert not np.array_equal(square.of(result), square.of(image))


def test_what_did_not_change_is_put_back_as_it_was() -> None:
    image, square = noise(80, 100, 3), Square(30, 20, 40)
    assert np.array_equal(put_back(image, square, square.of(image)), image)


def test_another_tint_of_the_new_picture_is_taken_out() -> None:
    image, square = noise(80, 100, 3), Square(30, 20, 40)
    tinted = square.of(image) + np.array([20, -15, 7], np.int16)
    difference = put_back(image, square, tinted.astype(np.uint8)).astype(int) - image
    assert np.abs(difference).max() <= 1


def test_the_middle_is_the_new_picture_and_the_edges_are_the_old_one() -> None:
    image, square = np.full((100, 100, 3), 100, np.uint8), Square(20, 20, 60)
    new = np.full((60, 60, 3), 100, np.uint8)
    new[25:35, 25:35] = 200
    result = square.of(put_back(image, square, new))
    assert (result[25:35, 25:35] == 200).all()
    checked = noise(60, 60, 3)
    border = round(FEATHER * 60)
    old = square.of(image)
    changed = np.abs(square.of(put_back(image, square, checked)).astype(int) - old).mean((1, 2))
    assert changed[0] < 1 < changed[border // 2] < changed[30]


def test_at_the_edge_of_the_picture_nothing_is_blended() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    new = noise(60, 60, 3)
    assert np.array_equal(put_back(image, Square(0, 0, 60), new), new)


@pytest.mark.parametrize(("share", "expected"), [(0.9, True), (1.1, False)])
def test_auto_takes_the_share_of_the_longer_side(share: float, expected: bool) -> None:
    assert is_small(face(0, 0, 5, share * SMALL_SHARE * 100), np.zeros((50, 100, 3))) is expected


def test_a_preview_shows_the_second_pass_in_its_place() -> None:
    image, square = np.zeros((64, 128, 3), np.uint8), Square(64, 0, 64)
    whole = preview_within(image, square, np.full((16, 16, 3), 200, np.uint8), 8)
    assert whole.shape == (8, 16, 3)
    assert (whole[:, 8:] == 200).all()
    assert (whole[:, :8] == 0).all()


@pytest.mark.parametrize("strength", [0.2, 0.3, 0.4, 0.5, 0.6])
@pytest.mark.parametrize("steps", [4, 7, 10, 25, 100])
def test_the_steps_are_those_of_diffusers_image_to_image_pipelines(steps: int, strength: float) -> None:
    scheduler = prepare_scheduler("euler", steps, EULER_CONFIG)
    published: Any = StableDiffusionXLControlNetImg2ImgPipeline.get_timesteps
    timesteps, count = published(SimpleNamespace(scheduler=scheduler), steps, strength, None)
    draws = iter([torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)])
    start = PictureStart(torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2), strength)
    ours = start.trajectory(scheduler, steps, lambda: next(draws), torch.Generator())
    assert steps_from_picture(steps, strength) == max(count, 1)
    if count:
        assert ours.timesteps == timesteps.tolist()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_with_a_perfect_network_the_picture_comes_back(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    original = torch.randn(1, 4, 16, 16, generator=generator)
    scheduler = prepare_scheduler(name, 10, EULER_CONFIG)
    training = training_of(scheduler.config)
    noise = torch.randn(original.shape, generator=generator)
    trajectory = Trajectory(scheduler, noise, generator, original, first=6)
    assert len(trajectory.timesteps) == 4
    while not trajectory.is_finished:
        seen = trajectory.network_input()
        signal, level = training.levels(trajectory.timestep)
        assert (seen - signal * original).std().item() == pytest.approx(level, rel=0.5)
        trajectory.advance(prediction_of(training, seen, original, trajectory.timestep))
    assert (trajectory.latents - original).square().mean().sqrt() < 0.1


class Portraits(FakeNetworks):
    """Both pictures sent show a large face in their middle; those made show one of ``share`` of what is searched."""

    def __init__(self, share: float = 0.5, is_made: bool = True) -> None:
        super().__init__()
        self.share, self.is_made = share, is_made

    def _face_analysis(self, inputs: Any) -> dict[str, np.ndarray]:
        found = super()._face_analysis({"image": np.full((8, 8, 3), (255, 0, 0), np.uint8)})
        height, width = inputs["image"].shape[:2]
        is_sent = height != width  # what is searched is a square
        side = (0.5 if is_sent else self.share) * max(height, width)
        box = [(width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2]
        count = int(is_sent or self.is_made)
        keypoints = np.tile([width / 2, height / 2], (5, 1))
        return found | {
            "face_count": np.array([count], np.int32),
            "bbox": np.array(box, np.float32),
            "keypoints": keypoints.astype(np.float32),
        }


def pipeline(networks: FakeNetworks, manifest: Manifest | None = None, **settings: Any) -> Pipeline:
    manifest, device = manifest or make_manifest(), torch.device("cpu")
    return Pipeline(networks, manifest, Settings(**settings), prepared_for_depth, CountingMetrics(), device)


def made(networks: FakeNetworks, audience: PatientAudience | None = None, **attributes: Any) -> PipelineOutput:
    tensors = make_tensors(**{"num_inference_steps": 10, "output_format": "png", "base64": False} | attributes)
    return asyncio.run(pipeline(networks).generate(tensors, audience or PatientAudience()))


def test_without_being_asked_there_is_no_second_pass() -> None:
    networks = Portraits(0.05)
    assert not made(networks).is_refined
    assert not networks.inputs_of("vae_encoder")


@pytest.mark.parametrize(
    ("asked", "share", "expected"), [("always", 0.5, True), ("auto", 0.9, False), ("auto", 0.1, True)]
)
def test_auto_refines_small_faces_only(asked: str, share: float, expected: bool) -> None:
    networks = Portraits(share)
    output = made(networks, refine_face=asked)
    assert output.is_refined is expected
    assert len(networks.inputs_of("vae_encoder")) == expected
    assert ("refine" in output.timings_ms) is True
    assert output.warnings == ()


def test_the_second_pass_is_told_as_further_steps_with_previews_of_the_whole_picture() -> None:
    audience = PatientAudience()
    made(Portraits(), audience, refine_face="always", refine_strength=0.4, preview=True)
    told = [(each.step, each.step_count) for each in audience.progress if each.preview]
    assert told == [*((step, 10) for step in range(1, 11)), *((step, 14) for step in range(11, 15))]
    sizes = {Image.open(io.BytesIO(each.preview)).size for each in audience.progress if each.preview}
    assert len(sizes) == 1


def test_the_encoder_sees_the_enlarged_square_and_the_steps_its_own_conditions() -> None:
    networks = Portraits(0.1)
    made(networks, refine_face="always")
    (encoded,) = networks.inputs_of("vae_encoder")
    assert encoded["image"].shape == (1, 64, 64, 3)
    *_, last = networks.inputs_of("denoise_step")
    assert last["sample"].shape[2:] == (8, 8)
    assert last["time_ids"][0].tolist() == [64, 64, 0, 0, 64, 64]
    assert last["depth"].shape[2:] == (64, 64)
    assert len(networks.inputs_of("denoise_step")) == 10 + steps_from_picture(10, 0.4)


def test_a_picture_without_a_face_is_left_as_it_is_with_a_warning() -> None:
    networks, plain = Portraits(0.1, is_made=False), Portraits(0.1)
    output = made(networks, refine_face="auto")
    assert not output.is_refined
    assert output.warnings == ("refine_face: the finished picture shows no face, and was left as it is",)
    assert np.array_equal(opened(output.image), opened(made(plain).image))


class OneFace(FakeNetworks):
    """Every picture shows one face of 40 pixels, with its middle at (x, y)."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self._box = np.array([x - 20, y - 20, x + 20, y + 20], np.float32)

    def _face_analysis(self, inputs: Any) -> dict[str, np.ndarray]:
        found = super()._face_analysis({"image": np.full((8, 8, 3), (255, 0, 0), np.uint8)})
        return found | {"face_count": np.array([1], np.int32), "bbox": self._box}


@pytest.mark.parametrize(("x", "is_found"), [(64, True), (78, True), (98, False)])
def test_a_neighbours_face_is_not_taken_for_the_poses(x: float, is_found: bool) -> None:
    wanted = face(90, 90, 20, 20)  # searched in a square of 80, enlarged to 128: its middle is at (64, 64) there
    searching = find_made_face(OneFace(x, 64), np.zeros((200, 200, 3), np.uint8), wanted, 128)
    found = asyncio.run(searching)
    assert (found is not None) is is_found
    if found is not None:
        np.testing.assert_allclose(found.middle, (100 + (x - 64) * 80 / 128, 100))


def test_an_export_without_the_encoder_refuses() -> None:
    manifest = Manifest(**make_manifest().__dict__ | {"can_refine": False})
    generating = pipeline(Portraits(), manifest).generate(make_tensors(refine_face="auto"), PatientAudience())
    with pytest.raises(InvalidInput, match="refine_face: 'auto' needs the engine vae_encoder"):
        asyncio.run(generating)


@pytest.mark.parametrize("strength", [0.1, 0.7])
def test_the_strength_has_limits(strength: float) -> None:
    with pytest.raises(InvalidInput, match="refine_strength"):
        made(Portraits(), refine_face="always", refine_strength=strength)


def test_it_can_be_cancelled_in_the_second_pass() -> None:
    class Leaving(PatientAudience):
        def on_progress(self, progress: Progress) -> None:
            super().on_progress(progress)
            if progress.step == 12:
                self._patience = 0

    audience = Leaving()
    with pytest.raises(Cancelled):
        made(Portraits(), audience, refine_face="always")
    assert audience.progress[-1].step == 12


def test_a_refined_picture_is_the_same_alone_and_in_company() -> None:
    async def together() -> list[PipelineOutput]:
        shared = pipeline(Portraits(0.1))
        asked = [{"seed": seed, "refine_face": "always", "output_format": "png", "base64": False} for seed in (1, 2, 3)]
        return await asyncio.gather(*(shared.generate(make_tensors(**each), PatientAudience()) for each in asked))

    alone = [
        asyncio.run(
            pipeline(Portraits(0.1)).generate(
                make_tensors(seed=seed, refine_face="always", output_format="png", base64=False), PatientAudience()
            )
        )
        for seed in (1, 2, 3)
    ]
    for one, other in zip(alone, asyncio.run(together()), strict=True):
        assert np.array_equal(opened(one.image), opened(other.image))
    assert len({each.image for each in alone}) == 3


def test_the_parameters_in_the_file_say_it() -> None:
    tensors = make_tensors(refine_face="always", output_format="png", base64=False)
    output = asyncio.run(pipeline(Portraits(), metadata="parameters").generate(tensors, PatientAudience()))
    assert "Face refined at: 0.4" in json.dumps(Image.open(io.BytesIO(output.image)).info["parameters"])
