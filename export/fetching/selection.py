"""Which of a repository's files export needs: configs, tokenizers, and one set of weights a folder."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from .errors import NotPublished
from .published import Published

_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?P<fp16>\.fp16)?"
    r"(?:-\d{5}-of-\d{5})?\.(?P<kind>safetensors|bin)"
)
_INDEX = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?P<fp16>\.fp16)?"
    r"\.(?P<kind>safetensors|bin)\.index(?P<late_fp16>\.fp16)?\.json"
)
_PLAIN = (".json", ".txt")

Form = tuple[str, bool]
"""Kind of file, and whether it is the fp16 variant."""


def select(source: Published, paths: Iterable[str], full_weights: bool) -> list[str]:
    """Return what to fetch of ``paths``; raises `NotPublished` where a needed one is missing.

    Of a folder that holds weights more than once, safetensors come before pickles, and the fp16 variant before
    the full one unless ``full_weights``. Single-file checkpoints, ONNX, OpenVINO and Flax files stay where they are.
    """
    paths = sorted(path for path in paths if any(fnmatchcase(path, pattern) for pattern in source.patterns))
    missing = [path for path in source.needs if path not in paths]
    if missing:
        raise NotPublished(f"{source.repo} has no {', '.join(missing)}: it is not in the layout that export reads")
    weighed = {path: form for path in paths if (form := weight_form(path))}
    best = {folder: _best(folder, weighed, full_weights) for folder in {_folder(path) for path in weighed}}
    return [path for path in paths if _wanted(source, path, weighed, best)]


def _wanted(source: Published, path: str, weighed: dict[str, Form], best: dict[str, Form]) -> bool:
    if path in source.patterns:
        return True
    if path in weighed:
        return weighed[path] == best[_folder(path)]
    return path.endswith(_PLAIN)


def _best(folder: str, weighed: dict[str, Form], full_weights: bool) -> Form:
    forms = {form for path, form in weighed.items() if _folder(path) == folder}
    return min(forms, key=lambda form: (form[0] != "safetensors", form[1] == full_weights))


def weight_form(path: str) -> Form | None:
    """Return the form of a file of weights, or of the index of such files; None for any other file."""
    name = PurePosixPath(path).name
    if match := _WEIGHTS.fullmatch(name):
        return match["kind"], bool(match["fp16"])
    if match := _INDEX.fullmatch(name):
        return match["kind"], bool(match["fp16"] or match["late_fp16"])
    return None


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)
