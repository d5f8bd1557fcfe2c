"""A small CLIP tokenizer: byte-level BPE in the published files, trained on the world's prompts."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

START = "<|startoftext|>"
END = "<|endoftext|>"
_WORD_END = "</w>"
_CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def train_merges(sentences: Iterable[str], vocabulary_size: int) -> list[tuple[str, str]]:
    """Return BPE merges, the most frequent first, for a vocabulary of at most ``vocabulary_size`` tokens."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        initial_alphabet=_byte_alphabet(),
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    return merges[: max(0, vocabulary_size - len(build_vocabulary([])))]


def build_vocabulary(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Number the tokens as CLIP does: bytes (``!`` is 0), bytes at a word's end, merges, start, end."""
    alphabet = _byte_alphabet()
    tokens = [*alphabet, *(byte + _WORD_END for byte in alphabet)]
    tokens += ["".join(merge) for merge in merges]
    return {token: index for index, token in enumerate([*dict.fromkeys(tokens), START, END])}


def write_tokenizer(folder: Path, merges: list[tuple[str, str]], pad_token: str) -> None:
    """Write one published CLIP tokenizer folder. SDXL pads with ``END`` in the first, ``!`` in the second."""
    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token": START, "eos_token": END, "pad_token": pad_token, "unk_token": END}
    settings = special | {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }
    _write_json(folder / "vocab.json", build_vocabulary(merges))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", special)


def _byte_alphabet() -> list[str]:
    """Return the 256 characters that stand for bytes, in CLIP's order: printable ones first."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = len(set(range(256)) - set(printable))
    return [chr(code) for code in [*printable, *range(256, 256 + others)]]


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
