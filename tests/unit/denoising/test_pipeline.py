"""The story of one request, over fakes."""

import asyncio
import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch
from denoising import Pipeline, PipelineOutput, Settings
from denoising.control_pictures import draw_face_keypoints
from PIL import Image

from insta_depth_shared.errors import Cancelled, InvalidInput, NoFace, Overloaded, TooLarge
from insta_depth_shared.manifest import DepthFacts
from tests.unit.denoising.fakes import (
    RED,
    WIDTH,
    WINDOW,
    CountingMetrics,
    FakeNetworks,
    PatientAudience,
    make_manifest,
    make_tensors,
    opened,
    picture,
    prepared_for_depth,
)

BLUE = (0, 0, 255)
GUIDED: dict[str, Any] = {"base64": False, "output_format": "png"}


class Studio:
    """A `Pipeline` with everything around it in reach."""

    def __init__(self, force_zeros: bool = True, **settings: Any) -> None:
        self.networks = FakeNetworks()
        self.metrics = CountingMetrics()
        self.pipeline = Pipeline(
            self.networks,
            make_manifest(force_zeros),
            Settings(**settings),
            prepared_for_depth,
            self.metrics,
            torch.device("cpu"),
        )

    async def generate(self, listener: PatientAudience | None = None, **changes: Any) -> PipelineOutput:
        return await self.pipeline.generate(make_tensors(**(GUIDED | changes)), listener or PatientAudience())

    def step_inputs(self) -> dict[str, np.ndarray]:
        return self.networks.inputs_of("denoise_step")[0]


async def test_a_request_becomes_a_picture() -> None:
    studio = Studio()
    generated = await studio.generate()
    assert opened(generated.image).shape == (64, 128, 3)
    assert generated.seed == 7
    assert generated.has_pose_face
    stages = ["queue", "decode_inputs", "conditioning", "denoise", "decode", "encode"]
    assert list(generated.timings_ms) == [*stages, "total"]
    assert sum(generated.timings_ms[stage] for stage in stages) == pytest.approx(generated.timings_ms["total"], abs=1)
    assert studio.metrics.outcomes == ["ok"]
    assert studio.metrics.in_flight == [1, 0]


async def test_the_step_sees_negative_before_positive() -> None:
    studio = Studio(force_zeros=False)
    await studio.generate(prompt="a knight", negative_prompt="blurry, dark")
    inputs = studio.step_inputs()
    assert inputs["encoder_hidden_states"][:, 0, 0] == pytest.approx([1.12, 1.08])
    assert inputs["text_embeds"][:, 0] == pytest.approx([1.12, 1.08])
    assert inputs["prompt_image_emb"][:, 0, 0] == pytest.approx([1.0, 1.3])


async def test_no_negative_prompt_is_zeros_where_the_checkpoint_says_so() -> None:
    studio = Studio(force_zeros=True)
    await studio.generate()
    assert not studio.step_inputs()["encoder_hidden_states"][0].any()
    assert not studio.step_inputs()["text_embeds"][0].any()
    assert len(studio.networks.inputs_of("prompt_encoder")) == 1


@pytest.mark.parametrize(("force_zeros", "negative_prompt"), [(True, ""), (False, None)])
async def test_otherwise_it_is_the_empty_text(force_zeros: bool, negative_prompt: str | None) -> None:
    studio = Studio(force_zeros)
    await studio.generate(negative_prompt=negative_prompt)
    assert studio.step_inputs()["encoder_hidden_states"][0, 0, 0] == 1


async def test_without_guidance_nothing_negative_is_computed() -> None:
    studio = Studio(force_zeros=False)
    await studio.generate(guidance_scale=1, negative_prompt="blurry")
    assert {len(value) for value in studio.step_inputs().values()} == {1}
    assert len(studio.networks.inputs_of("prompt_encoder")) == 1
    assert studio.networks.inputs_of("identity_projector")[0]["face_emb"].mean() == pytest.approx(0.3)


@pytest.mark.parametrize(("prompt", "negative_prompt"), [("x " * 80, "y"), ("x", "y " * 80)])
async def test_both_prompts_get_as_many_windows_as_the_longer_one(prompt: str, negative_prompt: str) -> None:
    studio = Studio()
    await studio.generate(prompt=prompt, negative_prompt=negative_prompt)
    assert studio.step_inputs()["encoder_hidden_states"].shape == (2, 2 * WINDOW, WIDTH)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
async def test_an_error_of_the_prompt_encoder_names_the_field(field: str) -> None:
    with pytest.raises(TooLarge) as caught:
        await Studio().generate(None, **{field: "x " * 300})
    assert caught.value.message == f"{field}: 5 windows are above the maximum 3"


async def test_the_conditioning_is_that_of_the_resized_pose_picture() -> None:
    studio = Studio()
    await studio.generate(pose_image=picture(width=300, height=100))
    inputs = studio.step_inputs()
    face = await studio.networks.call("face_analysis", {"image": np.full((64, 128, 3), RED, np.uint8)}, [])
    assert inputs["sample"].shape == (2, 4, 8, 16)
    assert inputs["time_ids"].tolist() == [[64, 128, 0, 0, 64, 128]] * 2
    drawing = draw_face_keypoints(face["keypoints"], 64, 128).transpose(2, 0, 1).astype(np.float32) / 255
    np.testing.assert_array_equal(inputs["face_keypoints"], [drawing, drawing])
    assert inputs["region_mask"][0, 0, 16:48, 32:96].all()
    assert inputs["region_mask"][0].sum() == 32 * 64


async def test_both_pictures_have_the_size_that_the_request_asks_for() -> None:
    studio = Studio()
    pose = picture((255, 9, 0))  # of equal pictures one may be asked about
    generated = await studio.generate(max_side=64, face_image=picture(width=300, height=400), pose_image=pose)
    assert opened(generated.image).shape == (64, 64, 3)
    seen = [inputs["image"].shape for inputs in studio.networks.inputs_of("face_analysis")]
    assert seen.count((64, 64, 3)) == 2


@pytest.mark.parametrize(
    ("metadata", "tells", "how"), [("provenance", True, False), ("parameters", True, True), ("none", False, False)]
)
async def test_files_say_what_the_operator_wants_and_never_the_prompt(metadata: Any, tells: bool, how: bool) -> None:
    listener = PatientAudience()
    studio = Studio(metadata=metadata)
    generated = await studio.generate(listener, preview=True, prompt="a secret knight", scheduler="ddim")
    files = [generated.image, *(progress.preview or b"" for progress in listener.progress if not progress.ahead)]
    assert [b"trainedAlgorithmicMedia" in file for file in files] == [tells] * len(files)
    line = Image.open(io.BytesIO(generated.image)).info.get("parameters", "")
    assert line.startswith("Steps: 10, Sampler: ddim, CFG scale: 3, Seed: 7, Size: ") == how
    assert not any(b"secret" in file for file in files)


async def test_the_face_region_can_be_left_alone() -> None:
    studio = Studio()
    await studio.generate(enhance_face_region=False)
    assert studio.step_inputs()["region_mask"].all()


async def test_no_face_in_the_face_picture_is_an_error() -> None:
    with pytest.raises(NoFace, match=r"^\[NO_FACE\] face_image: no face found"):
        await Studio().generate(face_image=picture(BLUE), pose_without_face="depth_only")


async def test_no_face_in_the_pose_picture_is_an_error_that_tells_the_way_out() -> None:
    with pytest.raises(NoFace, match=r'^\[NO_FACE\] pose_image: no face found.*set pose_without_face to "depth_only"'):
        await Studio().generate(pose_image=picture(BLUE))


async def test_depth_only_works_without_a_pose_face_and_says_so() -> None:
    studio = Studio()
    generated = await studio.generate(pose_image=picture(BLUE), pose_without_face="depth_only")
    assert not generated.has_pose_face
    assert not studio.step_inputs()["face_keypoints"].any()
    assert not studio.step_inputs()["identitynet_scale"].any()
    assert studio.step_inputs()["region_mask"].all()
    assert studio.step_inputs()["depth_scale"][0, 0] == np.float32(0.5)


async def test_depth_only_changes_nothing_where_there_is_a_face() -> None:
    plain, allowed = await Studio().generate(), await Studio().generate(pose_without_face="depth_only")
    assert plain.image == allowed.image
    assert allowed.has_pose_face


async def test_progress_is_told_at_each_step() -> None:
    listener = PatientAudience()
    await Studio().generate(listener, num_inference_steps=5)
    assert [(progress.step, progress.step_count) for progress in listener.progress] == [(i, 5) for i in range(1, 6)]
    assert listener.progress[0].preview is None


@pytest.mark.parametrize("as_text", [True, False])
async def test_pictures_go_out_as_wanted(as_text: bool) -> None:
    listener = PatientAudience()
    generated = await Studio().generate(listener, preview=True, base64=as_text)
    assert opened(generated.image, as_text).shape == (64, 128, 3)
    preview = listener.progress[-1].preview
    assert preview is not None
    assert opened(preview, as_text).shape == (8, 16, 3)


@pytest.mark.parametrize(("wanted", "signature"), [("jpeg", b"\xff\xd8"), ("png", b"\x89PNG"), ("webp", b"RIFF")])
async def test_the_output_has_the_wanted_format(wanted: str, signature: bytes) -> None:
    assert (await Studio().generate(output_format=wanted)).image.startswith(signature)


@pytest.mark.parametrize("patience", range(6))
async def test_a_cancelled_request_ends_at_any_point(patience: int) -> None:
    studio = Studio()
    with pytest.raises(Cancelled):
        await studio.generate(PatientAudience(patience))
    assert len(studio.networks.inputs_of("denoise_step")) == min(max(patience - 1, 0), 4)
    assert studio.metrics.in_flight == [1, 0]
    assert studio.metrics.outcomes == ["cancelled"]


async def test_one_request_too_many_is_refused_and_the_others_go_on() -> None:
    studio = Studio(max_requests=2)
    results = await asyncio.gather(*(studio.generate(seed=seed) for seed in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [PipelineOutput, PipelineOutput, Overloaded]
    assert str(results[2]) == "[OVERLOADED] 2 requests are in flight, the maximum; try again later"
    assert studio.metrics.in_flight == [1, 2, 1, 0]
    await studio.generate()


async def test_a_failed_request_frees_its_place() -> None:
    studio = Studio(max_requests=1)
    for _ in range(3):
        with pytest.raises(InvalidInput):
            await studio.generate(face_image=b"nothing that anybody could read")
    await studio.generate()
    assert studio.metrics.outcomes == ["invalid_input"] * 3 + ["ok"]


async def test_the_limits_of_pictures_are_the_settings() -> None:
    with pytest.raises(TooLarge, match=r"^\[TOO_LARGE\] pose_image: .* above the maximum of 100 pixels"):
        await Studio(max_image_pixels=100).generate(face_image=picture(width=9, height=9))


async def test_a_picture_too_thin_for_the_engines_is_refused() -> None:
    await Studio().generate(pose_image=picture(width=400, height=100))
    with pytest.raises(InvalidInput, match="pose_image: 401×100 pixels; the longer side may be 4 times the shorter"):
        await Studio().generate(pose_image=picture(width=401, height=100))


async def test_requests_of_other_sizes_changes_no_picture() -> None:
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2, "guidance_scale": 1, "num_inference_steps": 9},
        {"seed": 3, "pose_image": picture(width=300, height=100)},
        {"seed": 4, "scheduler": "lcm", "prompt": "x " * 80},
    ]
    alone = [(await Studio().generate(**changes)).image for changes in others]
    studio = Studio()
    together = await asyncio.gather(*(studio.generate(**changes) for changes in others))
    assert [generated.image for generated in together] == alone


async def test_the_two_largest_never_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    studio, running, most = Studio(), 0, 0
    call = studio.networks.call

    async def slow_call(model: str, inputs: Any, outputs: Any) -> dict[str, np.ndarray]:
        nonlocal running, most
        if model not in ("vae_decoder", "depth_estimator"):
            return await call(model, inputs, outputs)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return await call(model, inputs, outputs)

    monkeypatch.setattr(studio.networks, "call", slow_call)
    await asyncio.gather(*(studio.generate(seed=seed, num_inference_steps=4) for seed in range(4)))
    assert most == 1


async def test_distances_become_the_opposite_depth() -> None:
    """The fake estimator's values grow from the first pixel to the last."""
    nearness, distance = Studio(), Studio()
    facts = DepthFacts(is_distance=True)
    distance.pipeline._manifest = dataclasses.replace(distance.pipeline._manifest, depth=facts)
    for studio, nearest in ((nearness, (-1, -1)), (distance, (0, 0))):
        await studio.generate()
        depth = studio.step_inputs()["depth"][0, 0]
        assert depth[nearest] == depth.max() == 1
