from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from denoising import Settings, parse
from denoising.request import SPEEDS

from insta_depth_shared.attributes import ATTRIBUTES
from insta_depth_shared.errors import InstaDepthError, InvalidInput
from insta_depth_shared.manifest import ImageFacts
from tests.unit.denoising.fakes import make_manifest, make_tensors

SCHEDULERS = "euler, euler_ancestral, dpmpp_2m, dpmpp_2m_karras, unipc, lcm, ddim, checkpoint"


def parsed(tensors: dict[str, np.ndarray], **settings: int) -> Any:
    return parse(tensors, make_manifest(), Settings(**settings))


def error_of(tensors: dict[str, np.ndarray], **settings: int) -> str:
    with pytest.raises(InstaDepthError) as caught:
        parsed(tensors, **settings)
    return str(caught.value)


def test_what_is_left_out_comes_from_the_manifest() -> None:
    request = parsed(make_tensors())
    assert request.max_side == 128
    defaults = make_manifest().defaults
    assert request.negative_prompt is None
    assert request.seed == 7
    for name in ("num_inference_steps", "guidance_scale", "scheduler", "depth_scale", "base64", "output_format"):
        assert getattr(request, name) == defaults[name]


def test_every_given_value_arrives() -> None:
    given = {
        "negative_prompt": "",
        "num_inference_steps": 100,
        "guidance_scale": 1,
        "seed": 999_999_999_999_999,
        "base64": False,
        "ip_adapter_scale": 0.3,
        "identitynet_scale": 0,
        "depth_scale": 2,
        "scheduler": "unipc",
        "enhance_face_region": False,
        "pose_without_face": "depth_only",
        "face_mismatch": "average",
        "max_side": 64,
        "output_format": "webp",
        "output_quality": 1,
        "preview": True,
    }
    request = parsed(make_tensors(**given))
    assert {name: getattr(request, name) for name in given} == given
    assert not request.is_guided


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": None}, "[INVALID_INPUT] prompt: is required and missing"),
        ({"face_image": None}, "[INVALID_INPUT] face_image: is required and missing"),
        ({"pose_image": None}, "[INVALID_INPUT] pose_image: is required and missing"),
        ({"prompt": " \n\t"}, "[INVALID_INPUT] prompt: is empty"),
        ({"prompt": b"caf\xe9"}, "[INVALID_INPUT] prompt: is not UTF-8: unexpected end of data at byte 3"),
        ({"num_inference_steps": 3}, "[INVALID_INPUT] num_inference_steps: 3 is below the minimum 4"),
        ({"num_inference_steps": 101}, "[INVALID_INPUT] num_inference_steps: 101 is above the maximum 100"),
        ({"guidance_scale": 0.9}, "[INVALID_INPUT] guidance_scale: 0.9 is below the minimum 1"),
        ({"guidance_scale": 16}, "[INVALID_INPUT] guidance_scale: 16 is above the maximum 15"),
        ({"guidance_scale": 15.000001}, "[INVALID_INPUT] guidance_scale: 15.000001 is above the maximum 15"),
        ({"guidance_scale": float("nan")}, "[INVALID_INPUT] guidance_scale: nan is not a number from 1 to 15"),
        ({"depth_scale": float("inf")}, "[INVALID_INPUT] depth_scale: inf is not a number from 0 to 2"),
        ({"seed": -2}, "[INVALID_INPUT] seed: -2 is below the minimum -1"),
        ({"seed": 10**15}, "[INVALID_INPUT] seed: 1000000000000000 is above the maximum 999999999999999"),
        ({"output_quality": 0}, "[INVALID_INPUT] output_quality: 0 is below the minimum 1"),
        ({"scheduler": "heun"}, f"[INVALID_INPUT] scheduler: 'heun' is none of {SCHEDULERS}"),
        ({"output_format": "gif"}, "[INVALID_INPUT] output_format: 'gif' is none of jpeg, png, webp"),
        ({"depth_end": 1.1}, "[INVALID_INPUT] depth_end: 1.1 is above the maximum 1"),
        ({"guidance_end": -0.1}, "[INVALID_INPUT] guidance_end: -0.1 is below the minimum 0"),
        (
            {"identitynet_start": 0.5, "identitynet_end": 0.5},
            "[INVALID_INPUT] identitynet_start: 0.5 is not below identitynet_end, 0.5",
        ),
        ({"ip_adapter_start": 1.0}, "[INVALID_INPUT] ip_adapter_start: 1 is not below ip_adapter_end, 1"),
        ({"pose_without_face": ""}, "[INVALID_INPUT] pose_without_face: '' is none of error, depth_only"),
    ],
)
def test_an_error_names_field_value_and_limit(changes: dict[str, Any], message: str) -> None:
    assert error_of(make_tensors(**changes)) == message


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_long_prompt_is_too_large(field: str) -> None:
    expected = f"[TOO_LARGE] {field}: 11 characters are above the maximum 10"
    assert error_of(make_tensors(**{field: "x" * 11}), max_prompt_characters=10) == expected


@pytest.mark.parametrize(("value", "limit"), [(576, "minimum 640"), (1344, "maximum 1280"), (64, "minimum 640")])
def test_the_longer_side_s_limits_are_the_checkpoint_s(value: int, limit: str) -> None:
    manifest = replace(make_manifest(), image=ImageFacts(1024, 1280))
    with pytest.raises(InvalidInput, match=rf"^\[INVALID_INPUT\] max_side: {value} is .* the {limit}$"):
        parse(make_tensors(max_side=value), manifest, Settings())


def test_a_longer_side_between_two_multiples_is_refused() -> None:
    assert error_of(make_tensors(max_side=100)) == "[INVALID_INPUT] max_side: 100 is not a multiple of 64"


def test_an_input_of_several_values_is_refused() -> None:
    tensors = make_tensors() | {"seed": np.array([1, 2], np.int64)}
    assert error_of(tensors) == "[INVALID_INPUT] seed: shape [2] is not one value, [1]"


@pytest.mark.parametrize("speed", ["exact", "balanced", "fast"])
def test_a_speed_sets_what_the_request_does_not(speed: str) -> None:
    assert parsed(make_tensors(speed=speed)).guidance_end == SPEEDS[speed].get("guidance_end", 1)
    assert parsed(make_tensors(speed=speed, guidance_end=0.9)).guidance_end == pytest.approx(0.9)
    assert parsed(make_tensors()).guidance_end == 1


def test_there_may_be_eight_faces_and_each_is_called_by_its_place() -> None:
    faces = [bytes([place]) for place in range(8)]
    request = parsed(make_tensors(face_image=faces))
    assert request.face_image == tuple(faces)
    assert request.face_names == [f"face_image[{place}]" for place in range(8)]
    assert parsed(make_tensors()).face_names == ["face_image"]


@pytest.mark.parametrize("count", [0, 9])
def test_no_face_and_nine_are_refused(count: int) -> None:
    tensors = make_tensors() | {"face_image": np.array([b"a"] * count, np.object_)}
    assert error_of(tensors) == f"[INVALID_INPUT] face_image: there are {count}, not 1 to 8"


def test_there_is_one_pose() -> None:
    expected = "[INVALID_INPUT] pose_image: shape [2] is not one value, [1]"
    assert error_of(make_tensors(pose_image=[b"a", b"b"])) == expected


def test_an_input_of_another_type_is_refused() -> None:
    tensors = make_tensors() | {"num_inference_steps": np.array([10.5], np.float32)}
    assert error_of(tensors) == "[INVALID_INPUT] num_inference_steps: float32 is not the type INT32"


def test_a_scheduler_that_does_not_fit_the_checkpoint_is_refused_with_those_that_do() -> None:
    manifest = replace(make_manifest(), schedulers=["euler", "checkpoint"])
    with pytest.raises(InstaDepthError) as caught:
        parse(make_tensors(scheduler="lcm"), manifest, Settings())
    expected = "[INVALID_INPUT] scheduler: 'lcm' does not fit this checkpoint, which offers euler, checkpoint"
    assert str(caught.value) == expected


def test_a_long_unknown_value_is_shown_in_short() -> None:
    assert len(error_of(make_tensors(scheduler="x" * 10_000))) < 300


def test_seed_minus_one_draws_another_seed_each_time() -> None:
    seeds = {parsed(make_tensors(seed=-1)).seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(0 <= seed <= 999_999_999_999_999 for seed in seeds)


def test_a_float_is_the_decimal_that_was_typed() -> None:
    assert parsed(make_tensors(guidance_scale=3.3)).guidance_scale == 3.3


def test_the_table_has_every_field_of_the_request_once() -> None:
    names = [attribute.name for attribute in ATTRIBUTES]
    assert sorted(names) == sorted(parsed(make_tensors()).__dataclass_fields__)
