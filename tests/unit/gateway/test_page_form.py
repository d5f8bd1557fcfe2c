"""What the page makes of its form: the request, and the programs that would send the same."""

import base64
import json
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from insta_depth import Capabilities, GenerationRequest
from insta_depth_gateway.body import GenerationBody, from_form, from_json
from insta_depth_gateway.errors import BadRequest
from insta_depth_gateway.page.folder import delete_unused
from insta_depth_gateway.page.form import EXTENSIONS, RANGES, request_attributes, scheduler_choices, settings
from insta_depth_gateway.page.route_filter import is_open, names_remote_file
from insta_depth_gateway.page.snippets import curl_command, python_program

ORIGIN = "https://pictures.example"
NASTY = 'it\'s "5" $HOME `id` \\ {braces} % é\n@file;type=x <b>'


@pytest.fixture
def form(tmp_path: Path) -> dict[str, Any]:
    face, pose = tmp_path / 'a; "face", 1.jpg', tmp_path / "pose.png"
    face.write_bytes(b"face")
    pose.write_bytes(b"pose")
    return {
        "face_image": str(face),
        "pose_image": str(pose),
        "prompt": "a knight",
        "negative_prompt": "",
        "num_inference_steps": 10.0,
        "guidance_scale": 3,
        "seed": -1,
        **EXTENSIONS,
    }


def test_an_untouched_form_asks_for_the_documented_attributes_only(form: dict[str, Any]) -> None:
    assert settings(form) == {"prompt": "a knight", "num_inference_steps": 10, "guidance_scale": 3, "seed": -1}


def test_what_is_changed_is_asked_for(form: dict[str, Any]) -> None:
    changes = {"depth_scale": 0.0, "scheduler": "unipc", "enhance_face_region": False, "negative_prompt": "blur"}
    assert settings(form | changes).items() >= changes.items()
    assert settings(form | {"max_side": 1024.0})["max_side"] == 1024
    assert settings(form | {"pose_without_face": True})["pose_without_face"] == "depth_only"


def test_the_request_holds_the_files_bytes(form: dict[str, Any]) -> None:
    request = GenerationRequest(**request_attributes(form))
    assert (request.face_image, request.pose_image, request.preview) == (b"face", b"pose", True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose_image": None}, "Pose picture: choose a file"),
        ({"face_image": "/nowhere/face.jpg"}, "Face picture: the upload has been deleted meanwhile"),
        ({"prompt": None}, "Prompt: say what to render"),
    ],
)
def test_what_is_missing_is_named(form: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        request_attributes(form | change)


@pytest.mark.parametrize("name", RANGES)
def test_the_limits_are_the_apis(name: str) -> None:
    limits = {key: value for part in _described(name) for key, value in part.items()}
    assert (limits["minimum"], limits["maximum"]) == (RANGES[name].minimum, RANGES[name].maximum)
    assert limits.get("default") in (None, RANGES[name].default)


@pytest.mark.parametrize(
    ("offers", "choices"),
    [
        (Capabilities(), [("the checkpoint's own", "")]),
        (
            Capabilities(("euler", "lcm", "checkpoint"), "lcm"),
            [("the checkpoint's own (lcm)", ""), ("euler", "euler"), ("lcm", "lcm"), ("checkpoint", "checkpoint")],
        ),
        (Capabilities(("checkpoint",), "checkpoint"), [("the checkpoint's own", ""), ("checkpoint", "checkpoint")]),
    ],
)
def test_the_schedulers_are_the_servers(
    form: dict[str, Any], offers: Capabilities, choices: list[tuple[str, str]]
) -> None:
    assert scheduler_choices(offers) == choices
    assert "scheduler" not in settings(form)
    for _, name in choices[1:]:
        assert settings(form | {"scheduler": name})["scheduler"] == name


def _described(name: str) -> list[dict[str, Any]]:
    described = GenerationBody.model_json_schema()["properties"][name]
    return [described, *described.get("anyOf", [])]


def test_the_curl_command_sends_the_form(form: dict[str, Any]) -> None:
    words = shlex.split(curl_command(ORIGIN, form | {"prompt": NASTY, "enhance_face_region": False}))
    fields = dict(each.split("=", 1) for option, each in pairwise(words) if "--form" in option)
    assert words[2] == f"{ORIGIN}/v1/insta-depth"
    assert fields["face_image"] == '@"a; \\"face\\", 1.jpg"'
    pictures = {"face_image": b"face", "pose_image": b"pose"}
    body = from_form(fields | pictures)
    assert body.attributes() == settings(form | {"prompt": NASTY, "enhance_face_region": False}) | pictures
    assert not body.base64


def test_the_python_program_sends_the_form(
    form: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent: dict[str, Any] = {}
    answer = SimpleNamespace(ok=True, content=b"picture", headers={"x-remaining-credits": "1"})
    fake = SimpleNamespace(post=lambda url, **options: sent.update(url=url, **options) or answer)
    monkeypatch.setitem(sys.modules, "requests", fake)
    monkeypatch.setenv("INSTA_DEPTH_KEY", "secret")
    monkeypatch.chdir(tmp_path)
    changed = form | {"prompt": NASTY, "enhance_face_region": False}
    exec(python_program(ORIGIN, changed), {})
    assert sent["url"] == f"{ORIGIN}/v1/insta-depth"
    assert sent["headers"] == {"x-api-key": "secret"}
    expected = settings(changed) | {"face_image": base64.b64encode(b"face"), "pose_image": base64.b64encode(b"pose")}
    assert from_json(json.dumps(sent["json"]).encode()).attributes() == expected
    assert (tmp_path / "picture.jpg").read_bytes() == b"picture"


@pytest.mark.parametrize(
    "path", ["/", "/config", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/file=/tmp/a"]
)
def test_the_pages_own_paths_are_open(path: str) -> None:
    assert is_open(path)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=https://a.example/b",
        "/gradio_api/file=https:/a.example/b",
        "/gradio_api/proxy=https://a.example",
        "/gradio_api/deep_link",
        "/gradio_api/run-history/connect",
        "/gradio_api/runs",
        "/monitoring",
        "/login",
        "/v1/insta-depth",
    ],
)
def test_other_paths_are_closed(path: str) -> None:
    assert not is_open(path)


def test_a_picture_by_address_is_noticed_wherever_it_is() -> None:
    assert names_remote_file({"data": [None, [{"image": {"path": "http://10.0.0.1/a.jpg"}}]]})
    assert not names_remote_file({"data": [{"path": "/tmp/a.jpg", "url": "https://host/file=/tmp/a.jpg"}, "http://x"]})


def test_files_of_a_killed_process_are_deleted_but_no_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ours, strangers = tmp_path / "insta-depth-page-1" / "hash", tmp_path / "elsewhere"
    for folder in (ours, strangers):
        folder.mkdir(parents=True)
        (folder / "face.jpg").write_bytes(b"face")
    (tmp_path / "insta-depth-page-2").symlink_to(strangers)
    (ours / "link").symlink_to(strangers)
    delete_unused(3600)
    assert (ours / "face.jpg").exists()
    delete_unused(-1)
    assert not (ours / "face.jpg").exists()
    assert (strangers / "face.jpg").exists()
