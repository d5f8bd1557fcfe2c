"""Fusing LoRAs into the base before it is traced: W + scale · alpha ∕ rank · BA.

diffusers reads the file (its own format or kohya's) and places the layers. Two things it leaves to chance are settled
here: alphas that differ from layer to layer are multiplied in beforehand, and layers that the base lacks are an error.
"""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin as Loader
from diffusers.utils import recurse_remove_peft_layers
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ..checkpoint import Checkpoint, Lora
from ..errors import CheckpointError
from .lora_file import Tensors, first_line, is_down, layer_of, read_lora, up_of

NETWORKS = ("unet", "text_encoder", "text_encoder_2")
_OLD_NAMES = {f".to_{name}_lora.": f".{name}_proj.lora_linear_layer." for name in ("q", "k", "v", "out")}
_UNREADABLE = (ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError)


def fuse_loras(network: nn.Module, name: str, checkpoint: Checkpoint) -> None:
    """Fuse what the checkpoint's LoRAs hold for ``name`` (one of `NETWORKS`) into its weights, in their order."""
    for lora in checkpoint.loras:
        tensors, metadata = _diffusers_format(lora, checkpoint)
        if any(key.startswith(f"{name}.") for key in tensors):
            _check_fit(network, name, lora, tensors)
            _place(network, name, lora, tensors, metadata)
            _merge(network, lora)


def _diffusers_format(lora: Lora, checkpoint: Checkpoint) -> tuple[Tensors, dict[str, Any] | None]:
    """Read the file; keys begin with one of `NETWORKS`, and alphas are multiplied in."""
    tensors, metadata = read_lora(lora.file)
    layers = checkpoint.config(checkpoint.unet).get("layers_per_block", 2)
    try:
        converted, _ = Loader.lora_state_dict(
            _fold_alphas(tensors), unet_config=SimpleNamespace(layers_per_block=layers)
        )
    except _UNREADABLE as error:
        raise CheckpointError(f"{lora.file} is not a LoRA of SDXL: {first_line(error)}") from error
    held, kept = (sum(map(is_down, keys)) for keys in (tensors, converted))
    if held != kept:
        raise CheckpointError(f"{lora.file}: {held} layers are {kept} in SDXL: some have two names, or none there")
    return {_renamed(key): tensor for key, tensor in converted.items()}, metadata


def _renamed(key: str) -> str:
    """Give a text encoder's layer its present name: diffusers does so only where one of them is an output layer."""
    if key.startswith("text_encoder"):
        for old, new in _OLD_NAMES.items():
            key = key.replace(old, new)
    return key


def _fold_alphas(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Multiply each layer's alpha ∕ rank into it: diffusers loses the text encoders' where they differ."""
    folded = {key: tensor for key, tensor in tensors.items() if not key.endswith(".alpha")}
    downs = {layer_of(key): key for key in folded if is_down(key)}
    for key in tensors.keys() - folded.keys():
        down = downs[layer_of(key)]
        folded[up_of(down)] = folded[up_of(down)].float() * (tensors[key].item() / folded[down].shape[0])
    return folded


def _check_fit(network: nn.Module, name: str, lora: Lora, tensors: Tensors) -> None:
    """Every layer of the LoRA has its place in ``network``, of its size; raises `CheckpointError`."""
    modules = dict(network.named_modules())
    for key in (key for key in tensors if key.startswith(f"{name}.") and is_down(key)):
        target = _target(key.removeprefix(f"{name}."))
        module = next((modules[place] for place in _places(target) if place in modules), None)
        weight = getattr(module, "weight", None)
        if not isinstance(module, nn.Linear | nn.Conv2d) or not isinstance(weight, torch.Tensor):
            raise CheckpointError(
                f"{lora.file} does not fit base/{name}: it has a layer for {target}, which is not there"
            )
        down, up = tensors[key].shape, tensors[up_of(key)].shape
        if (up[0], *down[1:]) != tuple(weight.shape):
            made = "×".join(map(str, (up[0], *down[1:])))
            raise CheckpointError(
                f"{lora.file} does not fit base/{name}: its layer for {target} is {made}, there it is "
                f"{'×'.join(map(str, weight.shape))}; is it a LoRA of another model, such as SD 1.5?"
            )


def _target(down: str) -> str:
    """Return the layer that a first matrix acts on."""
    layer = layer_of(down).replace(".processor.", ".")
    return f"{layer}.0" if layer.endswith(".to_out") else layer


def _places(target: str) -> Iterator[str]:
    """The names that a layer may have: transformers has dropped ``text_model.`` from one of the encoders."""
    yield target
    yield target.removeprefix("text_model.")


def check_loras(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` for a LoRA that could not be fused whole; no weights of the base are read."""
    if not checkpoint.loras:
        return
    networks = {name: _empty(name, checkpoint) for name in NETWORKS}
    for lora in checkpoint.loras:
        tensors, _ = _diffusers_format(lora, checkpoint)
        for name, network in networks.items():
            _check_fit(network, name, lora, tensors)


def _empty(name: str, checkpoint: Checkpoint) -> nn.Module:
    folder = checkpoint.unet if name == "unet" else checkpoint.base / name
    with init_empty_weights():
        if name == "unet":
            return UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder))
        kind = CLIPTextModel if name == "text_encoder" else CLIPTextModelWithProjection
        return kind(CLIPTextConfig.from_pretrained(folder))


def _place(network: nn.Module, name: str, lora: Lora, tensors: Tensors, metadata: dict[str, Any] | None) -> None:
    described = metadata if any(key.startswith(f"{name}.") for key in metadata or ()) else None
    try:
        if name == "unet":
            Loader.load_lora_into_unet(tensors, None, network, metadata=described)
        else:
            Loader.load_lora_into_text_encoder(tensors, None, network, prefix=name, metadata=described)
    except _UNREADABLE as error:
        raise CheckpointError(f"{lora.file} does not fit base/{name}: {first_line(error)}") from error
    held = sum(key.startswith(f"{name}.") and is_down(key) for key in tensors)
    placed = sum(isinstance(module, LoraLayer) for module in network.modules())
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
