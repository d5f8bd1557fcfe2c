"""Reading a LoRA's file: every tensor in it is a layer that can be fused, or the file is refused by name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError

Tensors = dict[str, torch.Tensor]

SUPPORTED = "LoRAs of SDXL's UNet and text encoders in diffusers' or kohya's format can be"
_LAYER = re.compile(
    r"(?P<owner>unet\.|text_encoder\.|text_encoder_2\.|lora_unet_|lora_te1_|lora_te2_)(?P<layer>.+?)"
    r"(?P<part>\.lora_A\.weight|\.lora_B\.weight|\.lora_(?:linear_layer\.)?(?:down|up)\.weight|\.lora\.(?:down|up)\.weight"
    r"|_lora\.(?:down|up)\.weight|(?:\.lora)?\.alpha)"
)
_FOREIGN = (
    (r"dora_scale|lora_magnitude_vector", "a DoRA"),
    (r"\.hada_", "a LoHa"),
    (r"\.lokr_", "a LoKr"),
    (r"\.(oft_|boft_)", "an OFT or BOFT"),
    (r"\.on_input$|\.ia3_l$", "an (IA)³"),
    (r"\.[ab][12]\.weight$", "a GLoRA"),
    (r"\.lora_mid\.", "a LoRA with Tucker decomposition"),
    (r"\.(diff|diff_b|set_weight)$|\.(w|b)_norm$", "a LoRA with whole weights, norms or biases beside its layers"),
    (r"lora_(A|B|up|down)\.bias$|\.bias_(values|indices|size)$", "a LoRA with biases"),
    (r"lora_embedding_[AB]", "a LoRA with embeddings"),
    (r"^(emb_params|clip_[gl]|string_to_param|<.+>)|^bundle_emb\.", "a textual inversion, or holds one"),
    (r"^lora_controlnet$|^lora_controlnet\.", "a Control-LoRA"),
    (r"^(model\.diffusion_model|first_stage_model|conditioner|cond_stage_model)\.", "a whole checkpoint"),
    (r"^base_model\.model\.", "a LoRA under PEFT's own names"),
    (r"^lora_te_", "a LoRA of SD 1 or 2"),
    (
        r"^(transformer|lora_transformer|lora_te3|diffusion_model(?!\.(input|middle|output)_block))"
        r"|^lora_unet_(double|single|joint|transformer)?_?blocks_",
        "a LoRA of a diffusion transformer (Flux, SD 3 or a video model)",
    ),
)
_POINTER = b"version https://git-lfs"


def read_lora(path: Path) -> tuple[Tensors, dict[str, Any] | None]:
    """Return the file's tensors, and diffusers' own description of them (ranks, alphas) where it has one.

    Raises `CheckpointError` for a file that cannot be read, and for one of which a tensor could not be fused.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise CheckpointError(f"{path} is Git LFS's pointer, not the file itself: fetch it by `git lfs pull`")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    tensors, metadata = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_pickle(path), None)
    _check_kind(path, tensors)
    _check_values(path, tensors)
    _check_pairs(path, tensors)
    return tensors, metadata


def _read_safetensors(path: Path) -> tuple[Tensors, dict[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return tensors, json.loads(metadata) if metadata else None
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}") from error


def _read_pickle(path: Path) -> Tensors:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader stumbled over
        raise CheckpointError(f"{path} cannot be read as tensors: {first_line(error)}") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds something else than a LoRA's tensors; {SUPPORTED} fused")
    return content


def _check_kind(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors")
    for pattern, kind in _FOREIGN:
        found = next((key for key in tensors if re.search(pattern, key)), None)
        if found:
            raise CheckpointError(f"{path} is {kind} ({found}), which cannot be fused here; {SUPPORTED}")
    foreign = next((key for key in tensors if not _LAYER.fullmatch(key)), None)
    if foreign:
        raise CheckpointError(f"{path} is not a LoRA of SDXL: it holds {foreign}, which cannot be fused; {SUPPORTED}")


def _check_values(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    for key, tensor in tensors.items():
        is_alpha = key.endswith(".alpha")
        if not tensor.is_floating_point() and not is_alpha:
            raise CheckpointError(f"{path}: {key} is of type {tensor.dtype}, not of floats")
        if is_alpha and tensor.numel() != 1:
            raise CheckpointError(f"{path}: {key} has {tensor.numel()} values, one is needed")
        if not tensor.float().isfinite().all():
            raise CheckpointError(f"{path}: {key} holds NaN or infinite values")


def _check_pairs(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Every layer has both its matrices, of one rank; an alpha belongs to a layer."""
    downs = {key for key in tensors if is_down(key)}
    layers = {layer_of(down) for down in downs}
    ups = {up_of(key): key for key in downs}
    for key, tensor in tensors.items():
        if key.endswith(".alpha"):
            if layer_of(key) not in layers:
                raise CheckpointError(f"{path}: {key} belongs to no layer of the file")
        elif key not in downs and key not in ups:
            raise CheckpointError(f"{path}: {key} lacks the layer's other matrix")
        elif key in ups:
            down = tensors[ups[key]]
            if tensor.ndim < 2 or down.ndim < 2 or tensor.shape[1] != down.shape[0]:
                ranks = f"{tuple(tensor.shape)} and {tuple(down.shape)}"
                raise CheckpointError(f"{path}: {key} and {ups[key]} are of different ranks: {ranks}")
    for up, first in ups.items():
        if up not in tensors:
            raise CheckpointError(f"{path}: {first} lacks the layer's other matrix, {up}")


def is_down(key: str) -> bool:
    """Whether ``key`` names a layer's first matrix, (rank, inputs)."""
    return key.endswith((".lora_A.weight", "down.weight"))


def layer_of(key: str) -> str:
    """Return the layer that a matrix or an alpha belongs to, whatever its format calls the part."""
    return re.sub(
        r"[._]lora(_A|_B|_down|_up|_linear_layer\.down|_linear_layer\.up|\.down|\.up)\.weight$|([._]lora)?\.alpha$",
        "",
        key,
    )


def up_of(down: str) -> str:
    """Return the key of the layer's second matrix, (outputs, rank)."""
    if down.endswith(".lora_A.weight"):
        return down.removesuffix("A.weight") + "B.weight"
    return down.removesuffix("down.weight") + "up.weight"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
