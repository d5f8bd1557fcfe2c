"""Facts about a depth checkpoint: its family, whether larger means nearer or farther, and its input sizes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoImageProcessor, BaseImageProcessor

from .checkpoint.files import first_line, read_object
from .errors import CheckpointError

Config = Mapping[str, Any]

SUPPORTED = "Depth Anything (V1, V2, relative or metric), DPT (ViT, hybrid, BEiT, Swin V2 or DINOv2 backbone) and GLPN"
MIDAS_BACKBONES = (None, "bit", "beit", "swinv2")
"""Of the DPTs that were published with MiDaS, which learnt inverse depth up to scale and shift (arXiv:1907.01341)."""
METRIC_BACKBONES = ("dinov2",)
"""Of the DPTs that were published with DINOv2, which learnt the metres of NYU and KITTI (arXiv:2304.07193)."""

_HIERARCHICAL = ("swin", "swinv2")
"""Backbones whose stages halve the picture, each from an even number of patches."""


@dataclass(frozen=True)
class DepthInput:
    """Input of the depth estimator: fixed (height, width), or any multiples of ``multiple`` pixels."""

    multiple: int
    fixed_size: tuple[int, int] | None


def is_distance(folder: Path, config: Config) -> bool:
    """Return whether the network in ``folder`` predicts distances, so that larger is farther.

    Otherwise it predicts inverse depth, and larger is nearer. ``config``: its config.json. A
    ``depth_estimation_type``, as in Depth Anything's, decides; else the family and the backbone do. Raises
    `CheckpointError` for an unsupported family, or if neither decides.
    """
    by_default = _FAMILIES[_family(folder, config)](config)
    kind = config.get("depth_estimation_type")
    if kind is not None and kind not in ("relative", "metric"):
        raise CheckpointError(
            f"{folder / 'config.json'}: depth_estimation_type is {kind!r}, not 'relative' or 'metric'"
        )
    if kind is None and by_default is None:
        raise CheckpointError(
            f"{folder / 'config.json'}: whether larger is nearer can't be told of a DPT with a {_backbone(config)!r} "
            'backbone; add "depth_estimation_type": "relative" (larger is nearer) or "metric" (larger is farther)'
        )
    return bool(by_default) if kind is None else kind == "metric"


def _family(folder: Path, config: Config) -> str:
    family, architectures = config.get("model_type"), config.get("architectures") or []
    foreign = [name for name in architectures if not str(name).endswith("ForDepthEstimation")]
    if family not in _FAMILIES or foreign:
        found = ", ".join(map(str, architectures)) or f"model_type {family!r}"
        raise CheckpointError(
            f"{folder / 'config.json'}: {found} is not a supported depth estimator; supported are {SUPPORTED}"
        )
    return str(family)


def _backbone(config: Config) -> str | None:
    return (config.get("backbone_config") or {}).get("model_type") or config.get("backbone")


def _dpt(config: Config) -> bool | None:
    backbone = _backbone(config)
    if backbone in METRIC_BACKBONES:
        return True
    return False if backbone in MIDAS_BACKBONES else None


_FAMILIES: Mapping[str, Callable[[Config], bool | None]] = {
    "depth_anything": lambda _: False,
    "dpt": _dpt,
    "glpn": lambda _: True,
}
"""transformers' model_type → whether larger is farther if the config does not say; None: unknown."""


_SIZES = ((192, 256), (256, 192), (320, 320), (320, 448))
"""Picture sizes that show how a processor resizes: portrait, landscape, square, and one that rarely divides evenly."""


def depth_input(folder: Path, config: Config) -> DepthInput:
    """Find the input size from the checkpoint's own processor, which may keep proportions, resize, crop or pad.

    Raises `CheckpointError` if it cannot be loaded, or if its pictures do not fit the network.
    """
    path = folder / "preprocessor_config.json"
    processor = load_processor(path)
    grid = getattr(processor, "ensure_multiple_of", None) if getattr(processor, "do_resize", True) else None
    patch = _patch_px(config)
    cell = patch * _halvings(config)
    sizes = _processed_sizes(path, processor)
    is_fixed = len(sizes) == 1
    if grid and grid % cell and not is_fixed:
        raise CheckpointError(f"{path}: ensure_multiple_of is {grid}, the network needs multiples of {cell}")
    multiple = math.lcm(cell, grid or 1, getattr(processor, "size_divisor", None) or 1)
    for height, width in sizes:
        step = patch if is_fixed else multiple
        if height % step or width % step or not height or not width:
            raise CheckpointError(f"{path}: makes {height}×{width} of a picture, the network needs multiples of {step}")
    return DepthInput(multiple, sizes.pop() if is_fixed else None)


def picture_sizes(folder: Path) -> set[tuple[int, int]]:
    """Return (height, width) in pixels of what the processor in ``folder`` makes of pictures of several proportions.

    Raises `CheckpointError` where it makes nothing.
    """
    path = folder / "preprocessor_config.json"
    return _processed_sizes(path, load_processor(path))


def _processed_sizes(path: Path, processor: BaseImageProcessor) -> set[tuple[int, int]]:
    try:
        return {processed_size(processor, height, width) for height, width in _SIZES}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path}: {type(processor).__name__} makes no pixel_values of a picture: {first_line(error)}"
        ) from error


def load_processor(path: Path) -> BaseImageProcessor:
    """Return the image processor that a ``preprocessor_config.json`` describes; raises `CheckpointError`."""
    read_object(path)  # names a file that is missing or no JSON
    try:
        return AutoImageProcessor.from_pretrained(path.parent, backend="pil")
    except (ValueError, KeyError, TypeError, AttributeError, ImportError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is no image processor of transformers: {reason}") from error


def _patch_px(config: Config) -> int:
    patch = (config.get("backbone_config") or config).get("patch_size") or config.get("patch_size") or 16
    return math.lcm(*patch) if isinstance(patch, list) else int(patch)


def _halvings(config: Config) -> int:
    """How often smaller the last stage of a backbone is than its first: sides that it divides need no padding."""
    backbone = config.get("backbone_config") or {}
    return 2 ** (len(backbone["depths"]) - 1) if _backbone(config) in _HIERARCHICAL and backbone.get("depths") else 1


def processed_size(processor: BaseImageProcessor, height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) in pixels to which ``processor`` resizes a picture of this size."""
    black = np.zeros((height, width, 3), np.uint8)
    height, width = np.shape(processor(images=black, return_tensors="np")["pixel_values"])[2:]
    return height, width
