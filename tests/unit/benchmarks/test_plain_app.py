"""The plain server passes on what it is asked, and makes one picture after the other."""

import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

from starlette.testclient import TestClient

from benchmarks.served.plain_app import app
from benchmarks.sides import Request

BODY = {
    "prompt": "a woman",
    "face_image": b64encode(b"face").decode(),
    "pose_image": b64encode(b"pose").decode(),
    "seed": 7,
    "num_inference_steps": 4,
    "guidance_scale": 2.5,
    "output_format": "png",
}


def answers(side, bodies):
    with TestClient(app(side)) as client, ThreadPoolExecutor(len(bodies)) as pool:
        asked = []
        for body in bodies:
            asked.append(pool.submit(client.post, "/generate", json=body))
            time.sleep(0.1)  # they arrive in order, while the first is at work
        return [each.result() for each in asked]


def test_what_is_asked_is_made():
    asked: list[Request] = []
    (answer,) = answers(lambda request: asked.append(request) or b"picture", [BODY])
    assert answer.content == b"picture"
    assert asked == [BODY | {"face_image": b"face", "pose_image": b"pose"}]


def test_one_at_a_time_in_the_order_of_arrival():
    running, order = threading.Semaphore(1), []

    def side(request: Request) -> bytes:
        assert running.acquire(blocking=False)
        order.append(request["seed"])
        time.sleep(0.4)
        running.release()
        return b""

    found = answers(side, [BODY | {"seed": seed} for seed in range(4)])
    assert [answer.status_code for answer in found] == [200] * 4
    assert order == [0, 1, 2, 3]


def test_what_is_not_base64_is_refused():
    (answer,) = answers(lambda request: b"", [BODY | {"face_image": "A"}])
    assert answer.status_code == 422
