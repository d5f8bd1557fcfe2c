"""From segments of text to the fixed windows of tokens that a CLIP text encoder takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from .weights import Segment


@dataclass(frozen=True)
class Tokens:
    """The tokens of a prompt without start and end: ``ids`` and their ``weights``."""

    ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Windows:
    """``ids``: (W, T) int64; ``weights``: (W, T) float32, 1 by default."""

    ids: np.ndarray
    weights: np.ndarray


def tokenize(tokenizer: PreTrainedTokenizerBase, segments: Sequence[Segment]) -> Tokens:
    """Return the tokens of all ``segments``, in order and not truncated."""
    ids: list[int] = []
    weights: list[float] = []
    for segment in segments:
        found = tokenizer(segment.text, add_special_tokens=False, truncation=False, verbose=False).input_ids
        ids += found
        weights += [segment.weight] * len(found)
    return Tokens(ids, weights)


def window_count(tokens: Tokens, token_count: int) -> int:
    """Return how many windows of ``token_count`` the tokens need; no tokens need one."""
    return max(1, -(-len(tokens.ids) // words_in_window(token_count)))


def words_in_window(token_count: int) -> int:
    """Return how many tokens fit in a window between its start and its end."""
    return token_count - 2


def make_windows(tokenizer: PreTrainedTokenizerBase, tokens: Tokens, token_count: int, windows: int) -> Windows:
    """Split the tokens into ``windows`` windows: start, tokens, end, padding. The last ones may be empty prompts."""
    ids = np.full((windows, token_count), tokenizer.pad_token_id, np.int64)
    weights = np.ones((windows, token_count), np.float32)
    room = words_in_window(token_count)
    for row in range(windows):
        words = slice(row * room, (row + 1) * room)
        framed = [tokenizer.bos_token_id, *tokens.ids[words], tokenizer.eos_token_id]
        ids[row, : len(framed)] = framed
        weights[row, 1 : len(framed) - 1] = tokens.weights[words]
    return Windows(ids, weights)
