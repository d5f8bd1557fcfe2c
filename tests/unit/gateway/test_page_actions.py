"""What the page says where there is no picture."""

import asyncio
from typing import Any

import pytest
from insta_depth import NoFace, ServerUnavailable
from insta_depth_gateway.page.actions import generate
from insta_depth_gateway.page.form import EXTENSIONS

FORM = {"prompt": "a knight", "num_inference_steps": 10, "guidance_scale": 3, "seed": -1, **EXTENSIONS}


class Refusing:
    """A service whose every call is refused with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def authenticate(self, _secret: str) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "said", "unsaid"),
    [
        (ServerUnavailable("no Triton server answers at 10.0.0.7:8001"), "starting or away", "10.0.0.7"),
        (NoFace("face_image: no face found"), "Face picture: no face found", "face_image"),
    ],
)
async def test_errors_are_said_as_the_api_says_them(error: Exception, said: str, unsaid: str) -> None:
    shown = [each async for each in generate(Refusing(error), "a key", FORM, asyncio.Event())]  # type: ignore[arg-type]
    assert said in shown[-1]["status"]
    assert unsaid not in shown[-1]["status"]
