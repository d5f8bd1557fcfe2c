"""Loading a library's network so that every weight of its file is in it, and nothing else.

`check_network` compares names, shapes and kinds of number on the meta device, where a network has no memory: all parts
are compared before the first one is loaded. Both go through the libraries' own conversions of older names.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers import ModelMixin
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ..checkpoint.files import first_line, read_object
from ..checkpoint.weights import DIFFUSERS, TRANSFORMERS, find_weights, load_weights, tensor_shapes
from ..errors import CheckpointError

for _library in (diffusers_logging, transformers_logging):
    _library.disable_progress_bar()
    _library.set_verbosity_error()

_UNUSED = re.compile(
    r"neck\.fusion_stage\.layers\.0\.residual_layer1\..*"  # the first fusion has nothing to add; Intel's DPT omits it
    r"|(.*\.)?mask_token"  # for training
    r"|(.*\.)?num_batches_tracked"
)
"""What a transformers network has and no picture reads, so that a file may leave it out."""

Weights = dict[str, torch.Tensor]


def network_files(kind: type[nn.Module], folder: Path) -> tuple[Path, ...]:
    """Return the files that hold the weights of ``folder``'s network; raises `CheckpointError`."""
    return find_weights(folder, TRANSFORMERS if issubclass(kind, PreTrainedModel) else DIFFUSERS)


def check_network(kind: type[nn.Module], folder: Path) -> nn.Module:
    """Return ``folder``'s network on the meta device; raises `CheckpointError` where its file has other weights."""
    files = network_files(kind, folder)
    if issubclass(kind, PreTrainedModel):
        return _fill_transformers(kind, folder, files, tensor_shapes(files), torch.float32, device="meta")
    network = _empty_diffusers(kind, folder)
    _compare(files, network, _converted(network, files, tensor_shapes(files)))
    return network


def load_diffusers(kind: type[ModelMixin], folder: Path, dtype: torch.dtype) -> ModelMixin:
    """Return ``folder``'s network with its weights in ``dtype``, on the CPU; raises `CheckpointError`."""
    files = find_weights(folder, DIFFUSERS)
    network = _empty_diffusers(kind, folder)
    weights = _converted(network, files, load_weights(files))
    _compare(files, network, weights)
    network.load_state_dict(weights, strict=True, assign=True)
    return network.to(dtype)


def load_transformers(kind: type[PreTrainedModel], folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Return ``folder``'s network with its weights in ``dtype``, on the CPU; raises `CheckpointError`."""
    files = find_weights(folder, TRANSFORMERS)
    return _fill_transformers(kind, folder, files, load_weights(files), dtype, device="cpu")


def refuse_differences(
    files: Iterable[Path],
    missing: Iterable[str] = (),
    unexpected: Iterable[str] = (),
    mismatched: Mapping[str, tuple[Iterable[int], Iterable[int]]] | None = None,
    what: str = "the network",
) -> None:
    """Raise `CheckpointError` for the first difference; ``mismatched``: the file's shape and the needed one by name."""
    names = ", ".join(str(path) for path in files)
    missing, unexpected = sorted(missing), sorted(unexpected)
    for key, (found, needed) in sorted((mismatched or {}).items()):
        raise CheckpointError(f"{names}: {key} has the shape {tuple(found)}; {what} needs {tuple(needed)}")
    found_instead = f", and has {unexpected[0]}, which nothing reads" if missing and unexpected else ""
    if missing:
        raise CheckpointError(f"{names} lacks {_some(missing)}, which {what} needs{found_instead}")
    if unexpected:
        raise CheckpointError(f"{names} has {_some(unexpected)}, which {what} does not read: it is of another kind")


def compare(
    files: Iterable[Path], needed: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], what: str
) -> None:
    """Raise `CheckpointError` unless ``found`` has the names, shapes and kinds of number of ``needed``."""
    both = needed.keys() & found.keys()
    mismatched = {key: (found[key].shape, needed[key].shape) for key in both if found[key].shape != needed[key].shape}
    refuse_differences(files, needed.keys() - found.keys(), found.keys() - needed.keys(), mismatched, what)
    for key in sorted(both):
        _check_type(files, key, needed[key], found[key])


def _compare(files: Iterable[Path], network: nn.Module, found: Mapping[str, torch.Tensor]) -> None:
    compare(files, network.state_dict(), found, f"its {type(network).__name__}")


def _check_type(files: Iterable[Path], key: str, needed: torch.Tensor, found: torch.Tensor) -> None:
    if needed.is_floating_point() and not found.is_floating_point():
        names = ", ".join(str(path) for path in files)
        raise CheckpointError(f"{names}: {key} is {str(found.dtype).removeprefix('torch.')}; floats are needed")


def _some(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"


def _empty_diffusers(kind: type[ModelMixin], folder: Path) -> ModelMixin:
    config = read_object(folder / "config.json")
    try:
        with init_empty_weights():
            return kind.from_config(config)
    except Exception as error:
        raise _unbuildable(kind, folder, error) from error


def _converted(network: ModelMixin, files: tuple[Path, ...], weights: Weights) -> Weights:
    """Give old names (a VAE's ``query``, ``proj_attn``) their present ones; diffusers does so for whole files only."""
    return network._fix_state_dict_keys_on_load(weights) if len(files) == 1 else weights


def _fill_transformers(
    kind: type[PreTrainedModel],
    folder: Path,
    files: tuple[Path, ...],
    weights: Weights,
    dtype: torch.dtype,
    device: str,
) -> PreTrainedModel:
    config = transformers_config(kind, folder)
    try:
        network, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(weights),
            dtype=dtype,
            device_map={"": device},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise _unbuildable(kind, folder, error) from error
    missing = [key for key in report["missing_keys"] if not _UNUSED.fullmatch(key)]
    mismatched = {key: (found, needed) for key, found, needed in report["mismatched_keys"]}
    refuse_differences(files, missing, report["unexpected_keys"], mismatched, f"its {kind.__name__}")
    for key, needed in network.state_dict().items():
        if key in weights:
            _check_type(files, key, needed, weights[key])
    return network


def transformers_config(kind: type[PreTrainedModel], folder: Path) -> PreTrainedConfig:
    """Return the configuration of ``folder``'s network; raises `CheckpointError` where it describes none."""
    fields = read_object(folder / "config.json")
    try:
        return kind.config_class.from_dict(fields)
    except Exception as error:
        raise _unbuildable(kind, folder, error) from error


def _unbuildable(kind: type, folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{folder / 'config.json'} describes no {kind.__name__}: {first_line(error)}")
