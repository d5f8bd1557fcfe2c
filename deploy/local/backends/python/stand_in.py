"""Shared code of the replacements for Triton's C++ backends; a stub finds it beside ``triton_python_backend_utils``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils


@dataclass(frozen=True)
class Port:
    """An input or output of a network: its Triton type, None if it has none, and its shape, -1 where dynamic."""

    name: str
    data_type: str | None
    shape: tuple[int, ...]


def version_folder() -> Path:
    """The model's version folder; Triton passes no path to ``auto_complete_config``.

    The stub's first argument is <repository>/<model>/<version>/model.py.
    """
    return Path(_stub_arguments()[1]).parent


def _stub_arguments() -> list[str]:
    return Path("/proc/self/cmdline").read_text(encoding="utf-8").split("\0")


def complete_config(config: Any, inputs: Sequence[Port], outputs: Sequence[Port], max_batch_size: int) -> None:
    """Fill in what ``config.pbtxt`` leaves out: tensors, batch size and the dynamic batcher.

    ``max_batch_size``: for a network that batches, if the file sets none.
    """
    given = config.as_dict()
    batched = _complete_batching(config, [*inputs, *outputs], max_batch_size)
    if not given.get("input"):
        for port in inputs:
            config.add_input(_described(port, batched))
    if not given.get("output"):
        for port in outputs:
            config.add_output(_described(port, batched))


def _complete_batching(config: Any, ports: Sequence[Port], default: int) -> bool:
    """Set batch size and batcher; return whether the first dimension is Triton's own."""
    asked = config.as_dict()["max_batch_size"]
    if not all(port.shape and port.shape[0] == -1 for port in ports):
        if asked:
            raise pb_utils.TritonModelException(
                f"max_batch_size is {asked}, but not every tensor of the network has a dynamic first dimension"
            )
        return False
    config.set_max_batch_size(asked or default)
    if (asked or default) > 1 and "sequence_batching" not in config.as_dict():
        config.set_dynamic_batching()
    return True


def _described(port: Port, batched: bool) -> dict[str, Any]:
    """A tensor as ``config.pbtxt`` has it."""
    if port.data_type is None:
        raise pb_utils.TritonModelException(f"{port.name}: its type is not supported here")
    dims = list(port.shape[int(batched) :])
    if not dims:
        raise pb_utils.TritonModelException(f"{port.name}: a tensor needs a dimension besides the batch's")
    return {"name": port.name, "data_type": port.data_type, "dims": dims}
