import pytest
from insta_depth import InstaDepthError, NoFace, ServerUnavailable
from insta_depth._errors import ERRORS_BY_CODE, from_text


@pytest.mark.parametrize("code", ERRORS_BY_CODE)
def test_a_coded_text_becomes_the_error_of_its_code(code: str) -> None:
    error = from_text(f"in ensemble 'x': [{code}] what: happened\nhere")
    assert (type(error), error.message) == (ERRORS_BY_CODE[code], "what: happened\nhere")


def test_an_error_can_be_caught_by_its_parent() -> None:
    assert issubclass(NoFace, ERRORS_BY_CODE["INVALID_INPUT"])


@pytest.mark.parametrize(
    "text",
    [
        "Request for unknown model: 'insta_depth_stream' is not found",
        "Request for unknown model: 'insta_depth_stream' has no available versions",
        "Stub process 'insta_depth_stream_0_0' is not healthy.",
        "Server is stopping, scheduler for model has stopped accepting new inference requests",
        "[ENGINE_FAILED] denoise_step: Model denoise_step - Error when running inference: Server not ready",
        "GRPC server is shutting down and has stopped accepting new requests.",
        "Server exiting",
        "[ENGINE_FAILED] unet: Stub process is not healthy.",
        "[ENGINE_FAILED] unet: Failed to obtain the health mutex.",
        "[ENGINE_FAILED] face_detector: Failed to increase the shared memory pool size for key 'insta_depth_1' to "
        "1048576 bytes. If you are running Triton inside docker, use '--shm-size' flag to control the shared memory "
        "region size. Error: No space left on device",
        "Failed to create new mapped region for the grown shared memory region 'insta_depth_1'. ",
    ],
)
def test_a_server_that_cannot_serve_now_is_unavailable(text: str) -> None:
    assert type(from_text(text)) is ServerUnavailable


@pytest.mark.parametrize("text", ["something else", "[UNHEARD_OF] new kind", "[request id: 7] shape"])
def test_any_other_text_is_kept_whole(text: str) -> None:
    error = from_text(text)
    assert (type(error), error.message) == (InstaDepthError, text)
