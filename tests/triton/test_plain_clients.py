"""Clients that are not ours: Triton's own over gRPC and HTTP, and plain JSON as curl sends it."""

import base64
import io
import json
import random
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tritonclient import grpc as triton_grpc

DOCUMENTED = {"prompt": "Photo of a woman", "num_inference_steps": 4, "guidance_scale": 3, "seed": 354849415}


def _picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _tensor(name, value, dtype, datatype):
    tensor = triton_grpc.InferInput(name, [1], datatype)
    tensor.set_data_from_numpy(np.array([value], dtype=dtype))
    return tensor


@pytest.fixture(scope="module")
def plain_tensors(face, pose):
    return [
        _tensor("prompt", DOCUMENTED["prompt"].encode(), object, "BYTES"),
        _tensor("face_image", face, object, "BYTES"),
        _tensor("pose_image", base64.b64encode(pose), object, "BYTES"),
        _tensor("num_inference_steps", 4, np.int32, "INT32"),
        _tensor("seed", 354849415, np.int64, "INT64"),
        _tensor("base64", False, bool, "BOOL"),
    ]


def test_grpc_infer_takes_bytes_and_base64(server, plain_tensors):
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        result = client.infer("insta_depth", plain_tensors)
    assert _picture(result.as_numpy("image")[0]).format == "JPEG"
    assert result.as_numpy("seed")[0] == 354849415
    timings = json.loads(result.as_numpy("timings")[0])
    assert {"queue", "conditioning", "denoise", "decode", "total"} <= set(timings)
    assert timings["total"] >= timings["denoise"] > 0


def test_several_faces_are_a_tensor_of_as_many_in_grpc_and_a_list_in_json(server, plain_tensors, face, pose):
    faces = triton_grpc.InferInput("face_image", [2], "BYTES")
    faces.set_data_from_numpy(np.array([face, face], object))
    others = [tensor for tensor in plain_tensors if tensor.name() not in ("face_image", "base64")]
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        result = client.infer("insta_depth", [*others, faces])
        one = client.infer("insta_depth", [*plain_tensors[:-1]])
    in_base64 = base64.b64encode(face).decode()
    body = {**DOCUMENTED, "face_image": [in_base64] * 2, "pose_image": base64.b64encode(pose).decode()}
    answer = json.loads(_post(f"{server.http_url}/v2/models/insta_depth/generate", body))
    assert answer["image"] == result.as_numpy("image")[0].decode() == one.as_numpy("image")[0].decode()


def _post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as response:
        return response.read()


@pytest.fixture(scope="module")
def body(face, pose):
    images = {"face_image": face, "pose_image": pose}
    return DOCUMENTED | {name: base64.b64encode(data).decode() for name, data in images.items()}


def test_json_generate_answers_with_base64_by_default(server, body):
    answer = json.loads(_post(f"{server.http_url}/v2/models/insta_depth/generate", body))
    assert _picture(base64.b64decode(answer["image"])).format == "JPEG"
    assert answer["seed"] == 354849415


def test_json_stream_tells_every_step(server, body):
    stream = _post(f"{server.http_url}/v2/models/insta_depth_stream/generate_stream", body).decode()
    events = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    assert [event["step"] for event in events if "step" in event] == [1, 2, 3, 4]
    assert _picture(base64.b64decode(events[-1]["image"])).format == "JPEG"


def test_http_infer_takes_json_tensors(server, body):
    def tensor(name, datatype):
        return {"name": name, "shape": [1], "datatype": datatype, "data": [body[name]]}

    names = {"prompt": "BYTES", "face_image": "BYTES", "pose_image": "BYTES", "num_inference_steps": "INT32"}
    request = {"inputs": [tensor(name, datatype) for name, datatype in names.items()]}
    answer = json.loads(_post(f"{server.http_url}/v2/models/insta_depth/infer", request))
    outputs = {output["name"]: output["data"][0] for output in answer["outputs"]}
    assert _picture(base64.b64decode(outputs["image"])).format == "JPEG"


def test_json_errors_name_the_field(server, body):
    with pytest.raises(urllib.error.HTTPError) as error:
        _post(f"{server.http_url}/v2/models/insta_depth/generate", body | {"num_inference_steps": 101})
    assert "num_inference_steps: 101" in error.value.read().decode()


def test_the_readmes_curl_takes_photographs_of_megabytes(server, face, pose, tmp_path):
    """A command line has room for 128 KiB a word."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (command,) = [block for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if "/generate" in block]
    command = command.replace("http://127.0.0.1:8000", server.http_url)
    for name, picture in {"face.jpg": face, "pose.jpg": pose}.items():
        # What follows a PNG's end is passed over.
        (tmp_path / name).write_bytes(picture + random.Random(0).randbytes(5_000_000))
    said = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, timeout=120)
    assert said.stderr == b""
    assert _picture(base64.b64decode(json.loads(said.stdout)["image"])).format == "JPEG"
