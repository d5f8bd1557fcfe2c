import numpy as np
import pytest
import torch
from denoising.response_cache import CachedNetworks

from insta_depth_shared.errors import EngineFailed, InvalidInput
from tests.unit.denoising.fakes import RED, FakeNetworks

OUTPUTS = ["token_windows", "prompt_embeds"]
MIB = 2**20
GREEN, BLUE = (0, 255, 0), (0, 0, 255)


def text(content: str, min_windows: int = 1) -> dict[str, np.ndarray]:
    return {"text": np.array([content.encode()], np.object_), "min_windows": np.array([min_windows], np.int32)}


def image(colour: tuple[int, int, int], height: int = 8, width: int = 8) -> dict[str, np.ndarray]:
    return {"image": np.full((height, width, 3), colour, np.uint8)}


async def test_the_same_inputs_are_answered_once() -> None:
    networks = FakeNetworks()
    cached = CachedNetworks(networks, MIB)
    first, again = [await cached.call("face_analysis", image(RED), ["embedding"]) for _ in range(2)]
    assert np.array_equal(first["embedding"], again["embedding"])
    assert len(networks.calls) == 1


@pytest.mark.parametrize(
    "inputs",
    [
        [image(RED), image(BLUE), image(GREEN)],
        [image(RED, 4, 8), image(RED, 8, 4), {"image": np.full((8, 4, 3), RED, np.float32)}],
    ],
    ids=["values", "shape and dtype"],
)
async def test_other_pictures_are_others(inputs: list[dict[str, np.ndarray]]) -> None:
    networks = FakeNetworks()
    cached = CachedNetworks(networks, MIB)
    for each in inputs * 2:
        await cached.call("face_analysis", each, ["embedding"])
    assert len(networks.calls) == len(inputs)


async def test_other_texts_windows_and_outputs_are_others() -> None:
    networks = FakeNetworks()
    cached = CachedNetworks(networks, MIB)
    for _ in range(2):
        for inputs in (text("a"), text("b"), text("a", 2)):
            assert (await cached.call("prompt_encoder", inputs, OUTPUTS))["token_windows"] == inputs["min_windows"]
        await cached.call("prompt_encoder", text("a"), OUTPUTS[:1])
    assert len(networks.calls) == 4


@pytest.mark.parametrize("error", [EngineFailed("face_detector: no memory"), InvalidInput("text: is wrong")])
async def test_an_error_is_not_kept(error: Exception) -> None:
    networks = FakeNetworks()
    failing = iter([error, error])
    answer = networks._prompt_encoder

    def sometimes(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if (raised := next(failing, None)) is not None:
            raise raised
        return answer(inputs)

    networks._prompt_encoder = sometimes  # type: ignore[assignment]
    cached = CachedNetworks(networks, MIB)
    for _ in range(2):
        with pytest.raises(type(error)):
            await cached.call("prompt_encoder", text("a"), OUTPUTS)
    assert (await cached.call("prompt_encoder", text("a"), OUTPUTS))["token_windows"] == 1


async def test_what_was_not_asked_for_longest_goes_first() -> None:
    networks = FakeNetworks()
    one_answer = sum(array.nbytes for array in networks._face_analysis(image(RED)).values())
    cached = CachedNetworks(networks, 2 * one_answer)
    for colour, calls in [(RED, 1), (BLUE, 2), (RED, 2), (GREEN, 3), (RED, 3), (BLUE, 4)]:
        await cached.call("face_analysis", image(colour), ["embedding"])
        assert len(networks.calls) == calls


@pytest.mark.parametrize("max_bytes", [0, 100])
async def test_an_answer_larger_than_the_cache_is_given_and_not_kept(max_bytes: int) -> None:
    networks = FakeNetworks()
    cached = CachedNetworks(networks, max_bytes)
    for _ in range(2):
        answer = await cached.call("face_analysis", image(RED), ["embedding"])
        assert answer["embedding"].shape == (512,)
    assert len(networks.calls) == 2


async def test_a_kept_answer_is_a_copy_that_nobody_can_change() -> None:
    networks = FakeNetworks()
    own = np.ones(512, np.float32)
    networks._face_analysis = lambda inputs: {"embedding": own}  # type: ignore[method-assign]
    cached = CachedNetworks(networks, MIB)
    answer = await cached.call("face_analysis", image(RED), ["embedding"])
    own[:] = 7  # Triton reuses its memory
    with pytest.raises(ValueError, match="read-only"):
        answer["embedding"][0] = 2
    assert (await cached.call("face_analysis", image(RED), ["embedding"]))["embedding"].sum() == 512


async def test_other_networks_are_asked_each_time() -> None:
    networks = FakeNetworks()
    cached = CachedNetworks(networks, MIB)
    embedding = {"face_emb": np.ones((1, 512), np.float32)}
    for _ in range(2):
        await cached.call("identity_projector", embedding, ["prompt_image_emb"])
        await cached.call_on(torch.device("cpu"), "identity_projector", embedding, ["prompt_image_emb"])
    assert len(networks.calls) == 4
