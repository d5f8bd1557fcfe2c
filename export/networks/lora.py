"""Fusing LoRAs into the base before it is traced: W + scale · alpha ∕ rank · BA.

diffusers reads the file (its own format or kohya's) and places the layers. Two things it leaves to chance are settled
here: alphas that differ from layer to layer are multiplied in beforehand, and layers that the base lacks are an error.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin as Loader
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import recurse_remove_peft_layers
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from torch import nn

from ..checkpoint import Checkpoint, Lora
from ..errors import CheckpointError

Tensors = dict[str, torch.Tensor]

NETWORKS = ("unet", "text_encoder", "text_encoder_2")
_DOWN = ("lora_A.weight", ".down.weight")
_UPS = {"lora_up.weight": "lora_down.weight", "lora_B.weight": "lora_A.weight", "lora.up.weight": "lora.down.weight"}
_OLD_NAMES = {f".to_{name}_lora.": f".{name}_proj.lora_linear_layer." for name in ("q", "k", "v", "out")}
_UNREADABLE = (ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError)


def fuse_loras(network: nn.Module, name: str, checkpoint: Checkpoint) -> None:
    """Fuse what the checkpoint's LoRAs hold for ``name`` (one of `NETWORKS`) into its weights, in their order."""
    for lora in checkpoint.loras:
        tensors, metadata = _diffusers_format(lora, checkpoint)
        if any(key.startswith(f"{name}.") for key in tensors):
            _place(network, name, lora, tensors, metadata)
            _merge(network, lora)


def _diffusers_format(lora: Lora, checkpoint: Checkpoint) -> tuple[Tensors, dict[str, Any] | None]:
    """Read the file; keys begin with one of `NETWORKS`, and alphas are multiplied in."""
    tensors, metadata = _read(lora.file)
    if any("dora_scale" in key for key in tensors):
        raise CheckpointError(f"{lora.file} is a DoRA, which cannot be fused here")
    layers = checkpoint.config(checkpoint.base / "unet").get("layers_per_block", 2)
    try:
        converted, _ = Loader.lora_state_dict(
            _fold_alphas(tensors), unet_config=SimpleNamespace(layers_per_block=layers)
        )
    except _UNREADABLE as error:
        raise CheckpointError(f"{lora.file} is not a LoRA of SDXL: {_first_line(error)}") from error
    if not any(key.startswith(tuple(f"{name}." for name in NETWORKS)) for key in converted):
        raise CheckpointError(f"{lora.file} is not a LoRA of SDXL: no key of it belongs to {', '.join(NETWORKS)}")
    return {_renamed(key): tensor for key, tensor in converted.items()}, metadata


def _renamed(key: str) -> str:
    """Give a text encoder's layer its present name: diffusers does so only where one of them is an output layer."""
    if key.startswith("text_encoder"):
        for old, new in _OLD_NAMES.items():
            key = key.replace(old, new)
    return key


def _read(path: Path) -> tuple[Tensors, dict[str, Any] | None]:
    """Return the tensors, and diffusers' own description of them (ranks, alphas) where the file has one."""
    if path.suffix != ".safetensors":
        return _read_pickle(path), None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return tensors, json.loads(metadata) if metadata else None
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {_first_line(error)}") from error


def _read_pickle(path: Path) -> Tensors:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader stumbled over
        raise CheckpointError(f"{path} cannot be read as tensors: {_first_line(error)}") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds something else than a LoRA's tensors")
    return content


def _fold_alphas(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Multiply each layer's alpha ∕ rank into it: diffusers loses the text encoders' where they differ."""
    folded = {key: tensor for key, tensor in tensors.items() if not key.endswith(".alpha")}
    for key in tensors.keys() - folded.keys():
        layer = key.removesuffix("alpha")
        for up, down in _UPS.items():
            if layer + up in folded and layer + down in folded:
                rank = folded[layer + down].shape[0]
                folded[layer + up] = folded[layer + up].float() * (tensors[key].item() / rank)
    return folded


def _place(network: nn.Module, name: str, lora: Lora, tensors: Tensors, metadata: dict[str, Any] | None) -> None:
    described = metadata if any(key.startswith(f"{name}.") for key in metadata or ()) else None
    try:
        if name == "unet":
            Loader.load_lora_into_unet(tensors, None, network, metadata=described)
        else:
            Loader.load_lora_into_text_encoder(tensors, None, network, prefix=name, metadata=described)
    except _UNREADABLE as error:
        raise CheckpointError(f"{lora.file} does not fit base/{name}: {_first_line(error)}") from error
    held = sum(key.startswith(f"{name}.") and key.endswith(_DOWN) for key in tensors)
    placed = sum(isinstance(module, LoraLayer) for module in network.modules())
    if held == 0:
        raise CheckpointError(f"{lora.file} holds something else than LoRA layers for base/{name}")
    if placed != held:
        raise CheckpointError(f"{lora.file} does not fit base/{name}: it has layers for {held} places, {placed} exist")


def _merge(network: nn.Module, lora: Lora) -> None:
    for module in list(network.modules()):
        if isinstance(module, LoraLayer):
            module.scale_layer(lora.scale)
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise CheckpointError(f"{lora.file} holds NaN or infinite weights") from error
    recurse_remove_peft_layers(network)
    network.__dict__.pop("peft_config", None)
    vars(network)["_hf_peft_config_loaded"] = False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
