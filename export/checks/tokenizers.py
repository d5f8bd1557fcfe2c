"""Whether both tokenizers know the words that the text encoders were trained on, and no others."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from ..checkpoint import Checkpoint
from ..checkpoint.files import check_readable, first_line, read_json, read_object, utf8_text
from ..errors import CheckpointError
from .configs import Configs, TextConfig

_CLASSES = (None, "CLIPTokenizer", "CLIPTokenizerFast")
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
_SHORTEST = 3
_OLD_EOS = 2
"""Until 2023 every CLIP's config gave this id for the end; transformers then takes the highest id of a prompt."""


def check_tokenizers(checkpoint: Checkpoint, configs: Configs) -> None:
    """Raise `CheckpointError` where a tokenizer lacks its vocabulary, or has ids that its encoder cannot read."""
    _check(checkpoint.base / "tokenizer", configs.text_encoder, "base/text_encoder")
    tokenizer = _check(checkpoint.base / "tokenizer_2", configs.text_encoder_2, "base/text_encoder_2")
    end = configs.text_encoder_2.eos_token_id
    if end not in (_OLD_EOS, tokenizer.eos_token_id):  # the second encoder pools there
        raise CheckpointError(
            f"{checkpoint.base / 'text_encoder_2' / 'config.json'}: eos_token_id is {end}; "
            f"{checkpoint.base / 'tokenizer_2'} ends a prompt with {tokenizer.eos_token_id}"
        )


def _check(folder: Path, encoder: TextConfig, encoder_name: str) -> CLIPTokenizer:
    settings = read_object(folder / "tokenizer_config.json")
    _check_settings(folder / "tokenizer_config.json", settings)
    vocabulary = _check_files(folder)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    except Exception as error:
        raise CheckpointError(f"{folder} is no CLIP tokenizer: {first_line(error)}") from error
    _check_words(vocabulary, tokenizer)
    _check_added(folder, settings, tokenizer)
    token, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if highest >= encoder.vocab_size:
        raise CheckpointError(
            f"{folder}: the token {token!r} has the id {highest}; "
            f"{encoder_name}/config.json has a vocab_size of {encoder.vocab_size} (ids from 0)"
        )
    for name in _SPECIAL:
        if getattr(tokenizer, name) is None:
            raise CheckpointError(f"{folder}: {name.removesuffix('_id')} is missing or not in the vocabulary")
    return tokenizer


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    kind, length = settings.get("tokenizer_class"), settings.get("model_max_length")
    if kind not in _CLASSES:
        raise CheckpointError(f"{path}: tokenizer_class is {kind!r}; 'CLIPTokenizer' is needed")
    is_number = isinstance(length, int | float) and not isinstance(length, bool)
    if length is not None and (not is_number or length < _SHORTEST):
        raise CheckpointError(f"{path}: model_max_length is {length!r}; a number from {_SHORTEST} on is needed")


def _check_files(folder: Path) -> Path:
    """Return the file that holds the vocabulary; read each once, so that a torn one is named."""
    for path in sorted(folder.glob("*.json")):
        read_json(path)
    whole, merges, vocabulary = folder / "tokenizer.json", folder / "merges.txt", folder / "vocab.json"
    if whole.exists():
        return whole
    if not vocabulary.exists() and not merges.exists():
        raise CheckpointError(f"{folder} has no vocabulary: vocab.json and merges.txt (or tokenizer.json) are needed")
    check_readable(vocabulary)
    words = read_object(vocabulary)
    if wrong := [word for word, number in words.items() if type(number) is not int or number < 0]:
        raise CheckpointError(
            f"{vocabulary}: {wrong[0]!r} has the id {json.dumps(words[wrong[0]])}; a number is needed"
        )
    lines = [line for line in utf8_text(merges).splitlines() if line and not line.startswith("#version")]
    if torn := [line for line in lines if len(line.split()) != 2]:
        raise CheckpointError(f"{merges}: {torn[0]!r} is no pair of tokens")
    if absent := next((token for token in chain.from_iterable(map(str.split, lines)) if token not in words), None):
        raise CheckpointError(f"{vocabulary} lacks {absent!r}, which {merges.name} makes words of")
    return vocabulary


def _check_words(path: Path, tokenizer: CLIPTokenizer) -> None:
    """Every byte is a token, inside a word and at its end: else words would be unknown instead of spelled."""
    known = tokenizer.get_vocab()
    if absent := next(
        (c + end for c in sorted(ByteLevel.alphabet()) for end in ("", "</w>") if c + end not in known), None
    ):
        raise CheckpointError(
            f"{path} lacks the token {absent!r}: words would be unknown that CLIP's vocabulary spells"
        )


def _check_added(folder: Path, settings: dict[str, Any], tokenizer: CLIPTokenizer) -> None:
    """Added tokens must have the ids that their files say, at which the encoder learned them."""
    known, path = tokenizer.get_vocab(), folder / "added_tokens.json"
    listed = settings.get("added_tokens_decoder") or {}
    added = {token["content"]: int(number) for number, token in listed.items()}
    added |= read_object(path) if path.exists() else {}
    for token, number in added.items():
        if known.get(token) != number:
            raise CheckpointError(
                f"{folder}: the added token {token!r} has the id {number}; there are {len(known)} tokens"
            )
