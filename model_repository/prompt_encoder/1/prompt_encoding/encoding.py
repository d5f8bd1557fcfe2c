"""From a prompt to SDXL's embeddings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer, PreTrainedTokenizerBase

from insta_depth_shared.bls import Arrays, Call
from insta_depth_shared.errors import InvalidInput, TooLarge
from insta_depth_shared.manifest import TextFacts

from .weights import parse_weights
from .windows import Tokens, Windows, make_windows, tokenize, window_count, words_in_window

ENGINES = ("text_encoder", "text_encoder_2")
TOKENIZERS = ("tokenizer", "tokenizer_2")


@dataclass(frozen=True)
class EncodedPrompt:
    """The fields are the model's outputs.

    ``prompt_embeds``: (tokens, X) float32, the penultimate hidden states of both encoders side by side;
    ``pooled_prompt_embeds``: (P,) float32, the second encoder's, of the first window; ``token_windows``: (1,) int32.
    """

    prompt_embeds: np.ndarray
    pooled_prompt_embeds: np.ndarray
    token_windows: np.ndarray


class PromptEncoder:
    """Encodes prompts with the engines ``text_encoder`` and ``text_encoder_2``.

    A prompt that fits one window and has no weights is encoded as in diffusers' SDXL pipelines. Longer prompts are
    split into windows, which are encoded separately and joined. A weight scales its tokens' hidden states. The mean
    is not restored afterwards (A1111's mode "No norm", recommended for SDXL): that would change the other tokens
    too, and might divide by nearly 0.
    """

    def __init__(self, call: Call, tokenizers: list[PreTrainedTokenizerBase], facts: TextFacts) -> None:
        self._call = call
        self._tokenizers = tokenizers
        self._facts = facts

    @classmethod
    def from_folder(cls, call: Call, folder: Path, facts: TextFacts) -> "PromptEncoder":
        """Read the tokenizers ``tokenizer/`` and ``tokenizer_2/`` in ``folder``."""
        return cls(call, [CLIPTokenizer.from_pretrained(folder / name) for name in TOKENIZERS], facts)

    def encode(self, text: str, min_windows: int = 1) -> EncodedPrompt:
        """Encode ``text`` into as many windows as it needs, at least ``min_windows``."""
        self._check_min_windows(min_windows)
        segments = parse_weights(text)
        tokens = [tokenize(tokenizer, segments) for tokenizer in self._tokenizers]
        count = max(min_windows, *(self._count(found) for found in tokens))
        windows = [
            make_windows(tokenizer, found, self._facts.token_count, count)
            for tokenizer, found in zip(self._tokenizers, tokens, strict=True)
        ]
        first = self._run(ENGINES[0], windows[0], ["hidden_states"])
        second = self._run(ENGINES[1], windows[1], ["hidden_states", "text_embeds"])
        return EncodedPrompt(
            prompt_embeds=np.concatenate([first["hidden_states"], second["hidden_states"]], axis=-1),
            pooled_prompt_embeds=second["text_embeds"][0],
            token_windows=np.array([count], np.int32),
        )

    def _check_min_windows(self, min_windows: int) -> None:
        if not 1 <= min_windows <= self._facts.max_windows:
            raise InvalidInput(f"min_windows: {min_windows} is not within 1 to {self._facts.max_windows}")

    def _count(self, tokens: Tokens) -> int:
        count = window_count(tokens, self._facts.token_count)
        if count > self._facts.max_windows:
            limit = self._facts.max_windows * words_in_window(self._facts.token_count)
            raise TooLarge(f"text: {len(tokens.ids)} tokens are above the maximum {limit}")
        return count

    def _run(self, engine: str, windows: Windows, outputs: list[str]) -> Arrays:
        """Encode all windows in one call; return weighted hidden states, joined to (tokens, width)."""
        arrays = self._call(engine, {"input_ids": windows.ids}, outputs)
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
        weighed = arrays["hidden_states"] * windows.weights[..., np.newaxis]
        return arrays | {"hidden_states": weighed.reshape(-1, weighed.shape[-1])}
