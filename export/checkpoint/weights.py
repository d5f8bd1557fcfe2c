"""A folder's weights: the files, their tensors' names and shapes, and the tensors themselves, memory-mapped.

Published repositories contain the same weights in several forms. `best_form` chooses one by file names alone, for a
download and for an export.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError
from .files import check_readable, first_line, read_object

_NAME = r"(?P<stem>diffusion_pytorch_model|pytorch_model|model)"
_VARIANT = r"(?:\.(?P<{}>fp16|bf16))?"
_SHARD = r"(?P<shard>-\d{5}-of-\d{5})?"
_KIND = r"\.(?P<kind>safetensors|bin)"
_WEIGHTS = re.compile(_NAME + _VARIANT.format("early") + _SHARD + _VARIANT.format("late") + _KIND)
_INDEX = re.compile(_NAME + _VARIANT.format("early") + _KIND + r"\.index" + _VARIANT.format("late") + r"\.json")

DIFFUSERS = ("diffusion_pytorch_model",)
TRANSFORMERS = ("model", "pytorch_model")

_SMALLEST_FIRST = ("fp16", "bf16", "")
_FULL_FIRST = ("", "fp16", "bf16")


class Form(NamedTuple):
    """One of the forms in which a folder may hold its weights; ``variant``: fp16, bf16 or nothing (as trained)."""

    kind: str
    variant: str


class WeightFile(NamedTuple):
    """What a file's name says: its form, what the name begins with, and its part in a set of shards."""

    form: Form
    stem: str
    is_shard: bool
    is_index: bool


def weight_file(name: str) -> WeightFile | None:
    """Parse the name of a file of weights, or of their index; None for any other file."""
    name = PurePosixPath(name).name
    match = _WEIGHTS.fullmatch(name) or _INDEX.fullmatch(name)
    if match is None:
        return None
    is_index = name.endswith(".json")
    form = Form(match["kind"], match["early"] or match["late"] or "")
    return WeightFile(form, match["stem"], not is_index and bool(match["shard"]), is_index)


def best_form(forms: Iterable[Form], full_weights: bool = False) -> Form:
    """Return the form to take: safetensors before pickles, then fp16, bf16, full; ``full_weights``: full ones first."""
    order = _FULL_FIRST if full_weights else _SMALLEST_FIRST
    return min(forms, key=lambda form: (form.kind != "safetensors", order.index(form.variant)))


def find_weights(folder: Path, stems: Sequence[str]) -> tuple[Path, ...]:
    """Return the files of ``folder`` that hold its weights, in the form that fetch would have chosen.

    ``stems``: what the library calls its files, `DIFFUSERS` or `TRANSFORMERS`. Other files are ignored. A whole
    file is preferred to shards. Raises `CheckpointError` if there are no weights, or if a shard is missing.
    """
    found = {path: named for path in sorted(folder.iterdir()) if (named := weight_file(path.name))}
    found = {path: named for path, named in found.items() if named.stem in stems}
    if not found:
        raise CheckpointError(
            f"{folder} holds no weights: {' or '.join(f'{stem}.safetensors' for stem in stems[:1])} is needed "
            f"(or .fp16., .bf16., shards with their index, {stems[-1]}.bin)"
        )
    best = best_form(named.form for named in found.values())
    chosen = {path: named for path, named in found.items() if named.form == best}
    whole = [path for path, named in chosen.items() if not named.is_shard and not named.is_index]
    return (whole[0],) if whole else _shards(folder, chosen)


def _shards(folder: Path, chosen: Mapping[Path, WeightFile]) -> tuple[Path, ...]:
    indices = [path for path, named in chosen.items() if named.is_index]
    if not indices:
        raise CheckpointError(f"{folder}: the shard {next(iter(chosen)).name} has no index beside it (….index.json)")
    listed = read_object(indices[0]).get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(name, str) for name in listed.values()):
        raise CheckpointError(f"{indices[0]}: weight_map must say for each tensor in which file it is")
    names = sorted(set(listed.values()))
    if foreign := [name for name in names if PurePosixPath(name).name != name]:
        raise CheckpointError(f"{indices[0]}: weight_map names {foreign[0]!r}, which is no file beside it")
    if missing := [name for name in names if not (folder / name).exists()]:
        raise CheckpointError(f"{folder / missing[0]} is missing: {indices[0].name} names it")
    return tuple(folder / name for name in names)


def tensor_shapes(files: Iterable[Path]) -> dict[str, torch.Tensor]:
    """Return the files' tensors by name on the meta device: shapes and types, no data. Raises `CheckpointError`."""
    shapes: dict[str, torch.Tensor] = {}
    for path in files:
        shapes |= {name: tensor.to("meta") for name, tensor in load_tensors(path).items()}
    return shapes


def load_weights(files: Iterable[Path]) -> dict[str, torch.Tensor]:
    """Return the files' tensors by name, mapped into memory and read when used. Raises `CheckpointError`."""
    weights: dict[str, torch.Tensor] = {}
    for path in files:
        weights |= load_tensors(path)
    return weights


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return one file's tensors, as `load_weights`."""
    check_readable(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    content = load_pickle(path)
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds something else than named tensors")
    return {str(name): tensor for name, tensor in content.items()}


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not a whole .safetensors file: {first_line(error)} (fetch it again)"
        ) from error


def load_pickle(path: Path) -> object:
    """Unpickle a PyTorch file, memory-mapped if the format allows it; raises `CheckpointError`.

    Only tensors and containers are unpickled (``weights_only``), so a hostile file cannot run code.
    """
    check_readable(path)
    try:
        return _unpickle(path)
    except UnpicklingError as error:  # its text recommends loading the file anyway
        raise CheckpointError(f"{path} holds more than tensors, or is no file of PyTorch's at all") from error
    except Exception as error:  # torch passes on any error of its reader
        raise CheckpointError(f"{path} is not whole: {first_line(error)} (fetch it again)") from error


def _unpickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError):  # saved in the format before zip files, which can't be mapped
        return torch.load(path, map_location="cpu", weights_only=True)


def by_folder(paths: Iterable[str]) -> dict[str, dict[str, WeightFile]]:
    """Return the weights and index files among ``paths``, with their parsed names, by folder."""
    folders: dict[str, dict[str, WeightFile]] = defaultdict(dict)
    for path in paths:
        if named := weight_file(path):
            folders[str(PurePosixPath(path).parent)][path] = named
    return folders
