"""What the product's page documents, called as its callers do."""

import base64
import io

import pytest
import requests
from PIL import Image, ImageOps

from tests.gateway.live import LiveGateway, make_key


def test_the_documented_sample_runs_with_another_url_and_key(gateway, miniature_checkpoint, request):
    """The page's own code, but for URL, key and where its two pictures lie."""
    pictures = miniature_checkpoint / "pictures"

    def image_file_to_base64(image_path):
        with open(image_path, "rb") as f:
            image_data = f.read()
        return base64.b64encode(image_data).decode("utf-8")

    api_key = make_key(gateway.database_url, request.node.name)
    url = f"{gateway.url}/v1/insta-depth"
    data = {
        "prompt": "Photo of a woman wearing a Superman costume",
        "negative_prompt": "lowquality, badquality, sketches",
        "face_image": image_file_to_base64(pictures / "face.png"),
        "pose_image": image_file_to_base64(pictures / "pose.png"),
        "num_inference_steps": 10,
        "guidance_scale": 3,
        "seed": 354849415,
        "base64": False,
    }
    headers = {"x-api-key": api_key}
    response = requests.post(url, json=data, headers=headers)

    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert picture(response.content).format == "JPEG"
    assert response.headers["x-remaining-credits"] == "998"
    assert response.headers["x-cost"] == "2"
    assert response.headers["x-seed"] == "354849415"
    assert float(response.headers["x-generation-time"]) > 0
    assert float(response.headers["x-queue-time"]) >= 0


def picture(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_base64_is_the_default_and_holds_the_same_picture(post):
    answer = post()
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"image"}
    assert base64.b64decode(answer.json()["image"], validate=True) == post(base64=False).content


@pytest.mark.parametrize(("given", "kind"), [(0, "image/jpeg"), (1, "application/json")])
def test_the_pages_one_and_zero_are_true_and_false(post, given, kind):
    assert post(base64=given).headers["content-type"] == kind


def test_a_data_uri_is_a_picture(post, body):
    assert post(face_image=f"data:image/png;base64,{body['face_image']}").status_code == 200


def test_null_leaves_an_optional_attribute_at_its_default(post):
    answers = [post(base64=False), post(base64=False, negative_prompt=None, depth_scale=None)]
    assert answers[0].content == answers[1].content


def test_a_form_with_files_is_answered_as_json_is(gateway, key, post, body, face, pose):
    form = {name: str(value) for name, value in body.items() if name not in ("face_image", "pose_image")}
    answer = requests.post(
        f"{gateway.url}/v1/insta-depth",
        data=form | {"base64": "false"},
        files={"face_image": face, "pose_image": ("pose.png", pose, "image/png")},
        headers={"x-api-key": key},
    )
    assert answer.status_code == 200, answer.text
    assert answer.content == post(base64=False).content


def test_several_faces_are_a_list_or_a_field_again_and_change_the_picture(gateway, key, post, body, face, pose):
    turned = io.BytesIO()
    ImageOps.mirror(Image.open(io.BytesIO(face)).convert("RGB")).save(turned, "PNG")
    in_base64 = [body["face_image"], base64.b64encode(turned.getvalue()).decode()]
    several = post(base64=False, face_image=in_base64)
    assert several.status_code == 200, several.text
    form = {name: str(value) for name, value in body.items() if name not in ("face_image", "pose_image")}
    files = [("face_image", face), ("face_image", turned.getvalue()), ("pose_image", pose)]
    answer = requests.post(
        f"{gateway.url}/v1/insta-depth", data=form | {"base64": "false"}, files=files, headers={"x-api-key": key}
    )
    assert answer.content == several.content
    assert several.content != post(base64=False).content == post(base64=False, face_image=in_base64[:1]).content


def test_the_face_that_is_none_is_named_by_its_place(post, body):
    grey = io.BytesIO()
    Image.new("RGB", (200, 200), "grey").save(grey, "PNG")
    answer = post(face_image=[body["face_image"], base64.b64encode(grey.getvalue()).decode()])
    assert (answer.status_code, answer.json()["code"]) == (422, "NO_FACE")
    assert answer.json()["error"].startswith("face_image[1]: no face found")


def test_extensions_reach_the_server(post):
    answer = post(base64=False, output_format="png", scheduler="ddim", identitynet_scale=0.3)
    assert answer.headers["content-type"] == "image/png"
    assert picture(answer.content).format == "PNG"


def test_a_drawn_seed_is_told_and_makes_the_same_picture_again(post):
    drawn = post(seed=-1, base64=False)
    assert post(seed=int(drawn.headers["x-seed"]), base64=False).content == drawn.content


def test_credits_are_told_and_each_picture_lowers_them_by_its_price(gateway, key, post):
    assert credits(gateway, key) == {"credits": 1000, "free-credits": 0}
    assert post(num_inference_steps=7).headers["x-remaining-credits"] == "998.3"
    assert credits(gateway, key)["credits"] == 998.3


def credits(gateway: LiveGateway, key: str) -> dict[str, float]:
    answer = requests.get(f"{gateway.url}/v1/get-user-credits", headers={"x-api-key": key})
    assert float(answer.headers["x-remaining-credits"]) == answer.json()["credits"]
    return answer.json()
