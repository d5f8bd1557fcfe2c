"""What callers really send, and what is made of it."""

import json
from typing import Any

import pytest
from insta_depth_gateway.body import GenerationBody, from_form, from_json
from insta_depth_gateway.errors import BadRequest

GIVEN = {"prompt": "a woman", "face_image": "AAAA", "pose_image": "BBBB"}
REQUIRED = tuple(GIVEN)
OPTIONAL = tuple(name for name in GenerationBody.model_fields if name not in GIVEN)
PLAIN = from_json(json.dumps(GIVEN).encode())


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_left_out(name: str) -> None:
    assert from_json(json.dumps(GIVEN | {name: None}).encode()) == PLAIN


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_field_of_a_form_is_left_out(name: str, empty: str) -> None:
    assert from_form(GIVEN | {name: empty}) == PLAIN


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_required_may_be_neither(name: str) -> None:
    with pytest.raises(BadRequest, match=f"^{name}: is required and missing"):
        from_json(json.dumps(GIVEN | {name: None}).encode())
    with pytest.raises(BadRequest, match=f"^{name}: is empty"):
        from_form(GIVEN | {name: ""})


def test_several_faces_are_a_list_in_json_and_in_a_form() -> None:
    several = GIVEN | {"face_image": ["AAAA", "CCCC"]}
    for body in (from_json(json.dumps(several).encode()), from_form(several)):
        assert body.attributes()["face_image"] == [b"AAAA", b"CCCC"]
    assert PLAIN.attributes()["face_image"] == b"AAAA"
    assert from_form(GIVEN | {"face_image": [b"\xff", "CCCC"]}).face_image == [b"\xff", b"CCCC"]


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ([], "face_image: the list is empty"),
        (["AAAA"] * 9, "face_image: 9 are above the maximum 8"),
        (["AAAA", 3], r"face_image\[1\]: 3 is not text"),
        (["AAAA", ""], r"face_image\[1\]: is empty"),
        ([["AAAA"]], r"face_image\[0\]: \['AAAA'\] is not text"),
        ({"a": "AAAA"}, r"face_image: \{'a': 'AAAA'\} is not text"),
        ("", "face_image: is empty"),
    ],
)
def test_a_list_of_faces_that_is_none_is_refused_by_place(faces: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=f"^{message}$"):
        from_json(json.dumps(GIVEN | {"face_image": faces}).encode())


def test_there_is_one_pose() -> None:
    with pytest.raises(BadRequest, match=r"^pose_image: .* is not text$"):
        from_json(json.dumps(GIVEN | {"pose_image": ["AAAA", "BBBB"]}).encode())


def test_an_empty_text_in_json_is_not_a_number() -> None:
    with pytest.raises(BadRequest, match=r"^seed: '' is not a whole number"):
        from_json(json.dumps(GIVEN | {"seed": ""}).encode())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_inference_steps", "20", 20),
        ("num_inference_steps", "20.0", 20),
        ("seed", " -1 ", -1),
        ("guidance_scale", "3", 3.0),
        ("base64", "false", False),
        ("base64", "0", False),
        ("base64", "off", False),
        ("preview", "on", True),
        ("preview", "True", True),
        ("enhance_face_region", "1", True),
    ],
)
def test_a_forms_text_is_the_value_that_it_means(name: str, text: str, value: Any) -> None:
    assert getattr(from_form(GIVEN | {name: text}), name) == value


def test_a_byte_order_mark_is_passed_over() -> None:
    assert from_json(b"\xef\xbb\xbf" + json.dumps(GIVEN).encode()) == PLAIN


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(encoding: str) -> None:
    with pytest.raises(BadRequest, match=r"^body: is JSON in UTF-16 or UTF-32; it has to be UTF-8"):
        from_json(json.dumps(GIVEN).encode(encoding))
