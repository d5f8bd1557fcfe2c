"""Prompts through `PromptEncoder` against diffusers' SDXL pipeline, with small random CLIP models."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from prompt_encoding import PromptEncoder
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from insta_depth_shared.bls import Arrays
from insta_depth_shared.errors import InvalidInput, TooLarge
from insta_depth_shared.manifest import TextFacts

TOKEN_COUNT = 40
ROOM = TOKEN_COUNT - 2
PROMPT = "photo of a woman, (superman) costume!"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.:;!?()[]-'"


@dataclass(frozen=True)
class World:
    """A pipeline of diffusers' and an encoder of ours over the same tokenizers and networks."""

    pipeline: StableDiffusionXLPipeline
    encoder: PromptEncoder
    calls: list[tuple[str, tuple[int, ...]]]

    def expected(self, prompt: str) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            embeds, _, pooled, _ = self.pipeline.encode_prompt(prompt, do_classifier_free_guidance=False)
        return embeds[0].numpy(), pooled[0].numpy()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionXLPipeline:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_tokenizer(folder / "tokenizer", pad_token="<|endoftext|>")
    write_tokenizer(folder / "tokenizer_2", pad_token="!")
    tokenizers = [CLIPTokenizer.from_pretrained(folder / name) for name in ("tokenizer", "tokenizer_2")]
    torch.manual_seed(0)
    return StableDiffusionXLPipeline(
        vae=None,
        unet=None,
        scheduler=None,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        text_encoder=CLIPTextModel(text_config(tokenizers[0], width=32)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(text_config(tokenizers[1], width=48)).eval(),
    )


@pytest.fixture
def world(pipeline: StableDiffusionXLPipeline) -> World:
    calls: list[tuple[str, tuple[int, ...]]] = []

    def call(model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        calls.append((model, inputs["input_ids"].shape))
        with torch.inference_mode():
            found = getattr(pipeline, model)(torch.from_numpy(inputs["input_ids"]), output_hidden_states=True)
        arrays = {"hidden_states": found.hidden_states[-2].numpy()}
        if model == "text_encoder_2":
            arrays["text_embeds"] = found.text_embeds.numpy()
        return {name: arrays[name] for name in outputs}

    tokenizers = [pipeline.tokenizer, pipeline.tokenizer_2]
    return World(pipeline, PromptEncoder(call, tokenizers, facts()), calls)


def facts() -> TextFacts:
    return TextFacts(TOKEN_COUNT, hidden_size=80, pooled_size=16, force_zeros_for_empty_prompt=True, max_windows=3)


@pytest.mark.parametrize(
    "prompt",
    ["", " ", "a", PROMPT, "Ünïcödé 猫 🙂", "(", "a ) b (c", "what!? !!", "a\n\tb", "<|endoftext|> a", "x" * ROOM],
)
def test_a_prompt_of_one_window_is_exactly_diffusers(world: World, prompt: str) -> None:
    encoded = world.encoder.encode(prompt)
    embeds, pooled = world.expected(prompt)
    assert encoded.token_windows.tolist() == [1]
    np.testing.assert_allclose(encoded.prompt_embeds, embeds, atol=1e-6, rtol=0)
    np.testing.assert_allclose(encoded.pooled_prompt_embeds, pooled, atol=1e-6, rtol=0)


def test_every_output_has_its_declared_type(world: World) -> None:
    encoded = vars(world.encoder.encode(PROMPT))
    assert {name: (array.dtype.name, array.shape) for name, array in encoded.items()} == {
        "prompt_embeds": ("float32", (TOKEN_COUNT, 80)),
        "pooled_prompt_embeds": ("float32", (16,)),
        "token_windows": ("int32", (1,)),
    }


def test_half_precision_engines_give_float32(world: World) -> None:
    def call(model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Arrays:
        return {name: np.ones((*inputs["input_ids"].shape, 4), np.float16) for name in outputs}

    tokenizers = [world.pipeline.tokenizer, world.pipeline.tokenizer_2]
    encoded = PromptEncoder(call, tokenizers, facts()).encode("(a:1.1)")
    assert encoded.prompt_embeds.dtype == encoded.pooled_prompt_embeds.dtype == np.float32
    assert encoded.prompt_embeds[1, 0] == np.float32(1.1)


def test_a_long_prompt_is_its_windows_encoded_alone_and_joined(world: World) -> None:
    letters = ("abcdefgh" * ROOM)[: 2 * ROOM + 5]
    parts = [" ".join(letters[i : i + ROOM]) for i in range(0, len(letters), ROOM)]
    encoded = world.encoder.encode(" ".join(letters))
    expected = [world.expected(part) for part in parts]
    assert encoded.token_windows.tolist() == [3]
    np.testing.assert_allclose(
        encoded.prompt_embeds, np.concatenate([embeds for embeds, _ in expected]), atol=1e-6, rtol=0
    )
    np.testing.assert_allclose(encoded.pooled_prompt_embeds, expected[0][1], atol=1e-6, rtol=0)


def test_all_windows_go_to_each_encoder_in_one_call(world: World) -> None:
    world.encoder.encode("a " * 3 * ROOM)
    assert world.calls == [("text_encoder", (3, TOKEN_COUNT)), ("text_encoder_2", (3, TOKEN_COUNT))]


def test_a_full_window_does_not_open_another(world: World) -> None:
    counts = [world.encoder.encode("a " * words).token_windows[0] for words in (ROOM, ROOM + 1)]
    assert counts == [1, 2]


def test_missing_windows_are_empty_prompts(world: World) -> None:
    encoded = world.encoder.encode(PROMPT, min_windows=3)
    prompt, empty = world.expected(PROMPT), world.expected("")
    assert encoded.token_windows.tolist() == [3]
    expected = np.concatenate([prompt[0], empty[0], empty[0]])
    np.testing.assert_allclose(encoded.prompt_embeds, expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(encoded.pooled_prompt_embeds, prompt[1], atol=1e-6, rtol=0)


def test_both_encoders_get_as_many_windows_as_the_longer_tokens_need(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokenizer(tmp_path, pad_token="!", merges=[("a", "a</w>")])
    shorter = CLIPTokenizer.from_pretrained(tmp_path)
    monkeypatch.setattr(world.encoder, "_tokenizers", [shorter, world.pipeline.tokenizer_2])
    assert world.encoder.encode("aa " * ROOM).token_windows.tolist() == [2]
    assert [shape for _, shape in world.calls] == [(2, TOKEN_COUNT)] * 2


def test_more_tokens_than_the_windows_hold_are_refused(world: World) -> None:
    expected = rf"^\[TOO_LARGE\] text: {3 * ROOM + 1} tokens are above the maximum {3 * ROOM}$"
    with pytest.raises(TooLarge, match=expected):
        world.encoder.encode("a " * (3 * ROOM + 1))


@pytest.mark.parametrize("min_windows", [0, -1, 4])
def test_min_windows_out_of_range_is_refused(world: World, min_windows: int) -> None:
    with pytest.raises(InvalidInput, match=f"min_windows: {min_windows} is not within 1 to 3"):
        world.encoder.encode("a", min_windows)


def test_a_weight_scales_its_own_tokens_and_nothing_else(world: World) -> None:
    plain = world.encoder.encode("a b c d").prompt_embeds
    encoded = world.encoder.encode("a (b c:1.5) d")
    factors = np.ones((TOKEN_COUNT, 1), np.float32)
    factors[2:4] = 1.5
    np.testing.assert_array_equal(encoded.prompt_embeds, plain * factors)
    np.testing.assert_array_equal(encoded.pooled_prompt_embeds, world.encoder.encode("a b c d").pooled_prompt_embeds)


def test_a_weight_reaches_into_later_windows(world: World) -> None:
    words = "a " * ROOM
    plain = world.encoder.encode(words + "b c").prompt_embeds
    weighed = world.encoder.encode(words + "b (c:0.5)").prompt_embeds
    changed = np.flatnonzero((plain != weighed).any(axis=1))
    assert changed.tolist() == [TOKEN_COUNT + 2]


def test_the_weight_one_is_the_plain_prompt(world: World) -> None:
    plain, weighed = (world.encoder.encode(text).prompt_embeds for text in ("a b c", "a (b:1.0) c"))
    np.testing.assert_array_equal(plain, weighed)


def test_tokenizers_are_read_from_their_folders(tmp_path: Path, world: World) -> None:
    write_tokenizer(tmp_path / "tokenizer", pad_token="<|endoftext|>")
    write_tokenizer(tmp_path / "tokenizer_2", pad_token="!")
    encoder = PromptEncoder.from_folder(world.encoder._call, tmp_path, facts())
    np.testing.assert_array_equal(encoder.encode(PROMPT).prompt_embeds, world.encoder.encode(PROMPT).prompt_embeds)


def text_config(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer) + 8,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKEN_COUNT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def write_tokenizer(folder: Path, pad_token: str, merges: Sequence[tuple[str, str]] = ()) -> None:
    """Write a CLIP tokenizer of single characters whose special ids are neither first nor last."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*LETTERS, *(letter + "</w>" for letter in LETTERS), *("".join(pair) for pair in merges)]
    tokens = ["<|endoftext|>", *words[:7], "<|startoftext|>", *words[7:]]
    vocabulary = {token: index + 2 for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TOKEN_COUNT,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad_token,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
