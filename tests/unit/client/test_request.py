import io
import math
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from insta_depth import GenerationRequest, InvalidInput, TooLarge
from insta_depth._request import Attributes, checked_timeout_s

from tests.unit.client.conftest import PICTURES


def request(**attributes: Any) -> GenerationRequest:
    return GenerationRequest(**{**PICTURES, "prompt": "a woman", **attributes})


def test_attributes_left_out_are_not_sent() -> None:
    assert set(request(seed=None).tensors()) == {"face_image", "pose_image", "prompt"}


def test_an_empty_negative_prompt_is_sent() -> None:
    assert request(negative_prompt="").tensors()["negative_prompt"][1].item() == b""


def test_each_attribute_has_the_datatype_that_triton_expects() -> None:
    tensors = request(num_inference_steps=10, guidance_scale=3, seed=999999999999999, preview=True).tensors()
    sent = {name: (datatype, array.dtype, array.shape) for name, (datatype, array) in tensors.items()}
    assert sent["num_inference_steps"] == ("INT32", np.int32, (1,))
    assert sent["guidance_scale"] == ("FP32", np.float32, (1,))
    assert sent["seed"] == ("INT64", np.int64, (1,))
    assert sent["preview"] == ("BOOL", np.bool_, (1,))
    assert tensors["seed"][1].item() == 999999999999999


def test_numpy_numbers_are_taken() -> None:
    tensors = request(
        num_inference_steps=np.int64(4), guidance_scale=np.float16(1.5), preview=np.bool_(False)
    ).tensors()
    assert [tensors[name][1].item() for name in ("num_inference_steps", "guidance_scale", "preview")] == [4, 1.5, False]


def test_what_is_out_of_range_is_left_to_the_server() -> None:
    tensors = request(num_inference_steps=101, guidance_scale=math.nan, seed=-2).tensors()
    assert tensors["num_inference_steps"][1].item() == 101
    assert math.isnan(tensors["guidance_scale"][1].item())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_inference_steps", 10.0, "10.0 is not a whole number of 32 bits"),
        ("num_inference_steps", True, "True is not a whole number of 32 bits"),
        ("num_inference_steps", 2**31, "2147483648 is not a whole number of 32 bits"),
        ("seed", 2**63, "9223372036854775808 is not a whole number of 64 bits"),
        ("guidance_scale", "3", "'3' is not a number of 32 bits"),
        ("guidance_scale", 1e39, "1e+39 is not a number of 32 bits"),
        ("preview", "yes", "'yes' is not true or false"),
        ("prompt", 3, "3 is not text"),
        ("prompt", "\ud800", "'\\ud800' is not text"),
        ("face_image", None, "expected bytes, a path or an open file, not NoneType"),
    ],
)
def test_a_value_that_cannot_be_sent_is_refused_by_name(name: str, value: object, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        request(**{name: value})
    assert str(caught.value) == f"{name}: {message}"


def test_a_picture_may_be_bytes_a_path_or_a_file(files: Path) -> None:
    path = files / "face.jpg"
    with path.open("rb") as file:
        sources = [
            path.read_bytes(),
            path,
            str(path),
            file,
            io.BytesIO(path.read_bytes()),
            memoryview(path.read_bytes()),
        ]
        assert {request(face_image=source).face_image for source in sources} == {b"a face"}


def test_several_faces_are_one_array_of_their_bytes(files: Path) -> None:
    several = request(face_image=[b"one", files / "face.jpg", io.BytesIO(b"three")])
    datatype, array = several.tensors()["face_image"]
    assert (datatype, array.shape, list(array)) == ("BYTES", (3,), [b"one", b"a face", b"three"])
    assert request(face_image=(b"one",)).tensors()["face_image"][1].tolist() == [b"one"]


def test_the_face_that_cannot_be_read_is_named_by_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"^face_image\[1\]: no such file: nobody\.jpg"):
        request(face_image=[b"one", "nobody.jpg"])
    with pytest.raises(InvalidInput, match=r"^face_image: the list is empty"):
        request(face_image=[])


def test_there_is_one_pose() -> None:
    with pytest.raises(InvalidInput, match="pose_image: expected bytes, a path or an open file, not list"):
        request(pose_image=[b"one", b"two"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"pose_image: no such file: .*nobody\.jpg"):
        request(pose_image=tmp_path / "nobody.jpg")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"face_image: cannot read .*: Is a directory"):
        request(face_image=tmp_path)


def test_a_file_opened_as_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="face_image: the file is open as text"):
        request(face_image=io.StringIO("text"))


def test_a_picture_larger_than_a_message_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insta_depth._request.MESSAGE_BYTES_MAX", 5)
    with pytest.raises(TooLarge, match="face_image: more than 5 bytes"):
        request()


def test_the_keyword_arguments_are_the_fields_of_a_request() -> None:
    keywords = Attributes.__required_keys__ | Attributes.__optional_keys__
    assert {each.name for each in fields(GenerationRequest)} == keywords
    assert {each.name for each in fields(GenerationRequest) if each.default is MISSING} == Attributes.__required_keys__


@pytest.mark.parametrize(("deadline_s", "default_s", "expected"), [(None, 9, 9), (5, 9, 5), (None, None, None)])
def test_a_request_has_its_own_deadline_or_the_clients(
    deadline_s: float | None, default_s: float | None, expected: float | None
) -> None:
    assert checked_timeout_s(deadline_s, default_s) == expected


def test_an_endless_deadline_is_none() -> None:
    assert checked_timeout_s(math.inf, 9) is None


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_deadline_that_is_not_positive_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInput, match=r"deadline_s: .* is not above 0"):
        checked_timeout_s(seconds, None)
