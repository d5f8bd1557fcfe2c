"""The step's networks and those that run once, with random weights made on the device: there is no checkpoint."""

import zlib
from collections.abc import Callable, Mapping
from functools import partial

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

from export.controlnets import CONTROLNETS, ControlNet
from export.engines import Engine, engine_table, step_engine_names
from export.facts import DepthInput, Facts, Residual, reads_text, unet_residuals
from export.networks.builders import join_in_one_type
from export.networks.controlnet import controlnet_module
from export.networks.depth_estimator import DepthEstimator
from export.networks.face_attention import add_face_attention
from export.networks.unet import UNet
from export.networks.vae_decoder import VaeDecoder

from .options import Options
from .sizes import Config

VAE_FACTOR, FACE_TOKENS, TIME_IDS = 8, 16, 6
VAE_DECODER, DEPTH_ESTIMATOR = "vae_decoder", "depth_estimator"
_ONCE = (VAE_DECODER, DEPTH_ESTIMATOR)
_ONES = ("weight", "lambda1")
"""Endings of the names of what scales: norms, and the layer scale of DINOv2."""


def build(name: str, options: Options, dtype: torch.dtype | None = None) -> nn.Module:
    """Return network ``name``, of the step, ``vae_decoder`` or ``depth_estimator``, on the device.

    ``dtype``: by default the precision's.
    The weights depend on the names of the parameters alone and are always rounded to the precision, so that a
    network in float32 is the exact answer to what its neighbour in float16 computes.
    """
    module = design(name, options).to(dtype or options.float_type.torch_dtype)
    module = module.to_empty(device=options.torch_device)
    _fill(module, options.float_type.torch_dtype)
    return module


def design(name: str, options: Options) -> nn.Module:
    """Return network ``name`` on the meta device: shapes without values."""
    with torch.device("meta"):
        module = _BUILDERS[name](options)
    return module.to(options.float_type.torch_dtype).eval().requires_grad_(False)


@torch.no_grad()
def _fill(module: nn.Module, rounded_to: torch.dtype) -> None:
    """Keep the deviation of what passes through about 1, so that nothing overflows in float16.

    Weights: deviation 1 / √fan-in; norms: 1; biases: 0; the VAE's scale and shift of the latents: 1.
    """
    for buffer in module.buffers():
        buffer.fill_(1.0)
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(float(name.endswith(_ONES)))
            continue
        generator = torch.Generator(parameter.device).manual_seed(zlib.crc32(name.encode()))
        drawn = torch.randn(parameter.shape, generator=generator, device=parameter.device)
        fan_in = parameter.numel() // parameter.shape[0]
        parameter.copy_(drawn.mul_(fan_in**-0.5).to(rounded_to))


def _unet(options: Options) -> nn.Module:
    unet = UNet2DConditionModel(**options.networks.unet)
    join_in_one_type(unet)
    add_face_attention(unet, _face_weights(unet))
    return UNet(unet, VAE_FACTOR, len(_residuals(options.networks.unet)))


def _controlnet(net: ControlNet, options: Options) -> nn.Module:
    controlnet = ControlNetModel(**_config(net, options))
    join_in_one_type(controlnet)
    return controlnet_module(net, controlnet, _facts(options))


def _config(net: ControlNet, options: Options) -> Config:
    """IdentityNet's, ControlNet-Depth's of the chosen size, and the full one for every other."""
    if net.reads_face:
        return options.networks.identitynet
    return options.networks.depth_nets[options.depth_net if net.engine == "controlnet_depth" else "full"]


def _vae_decoder(options: Options) -> nn.Module:
    return VaeDecoder(AutoencoderKL(**options.networks.vae))


def _depth_estimator(options: Options) -> nn.Module:
    return DepthEstimator(DepthAnythingForDepthEstimation(DepthAnythingConfig(**options.networks.depth_estimator)))


_BUILDERS: Mapping[str, Callable[[Options], nn.Module]] = {
    **{net.engine: partial(_controlnet, net) for net in CONTROLNETS},
    "unet": _unet,
    VAE_DECODER: _vae_decoder,
    DEPTH_ESTIMATOR: _depth_estimator,
}


def _face_weights(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """The face adapter's weights by their published names, without values."""
    weights = {}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            text = unet.get_submodule(name.removesuffix(".processor")).to_k
            for kind in ("to_k_ip", "to_v_ip"):
                weights[f"{index}.{kind}.weight"] = torch.empty(text.out_features, text.in_features, device="meta")
    return weights


def _residuals(config: Config) -> tuple[Residual, ...]:
    """The skip connections of a UNet's way down in diffusers' order, the middle last."""
    middle = Residual(config["block_out_channels"][-1], len(config["block_out_channels"]) - 1)
    return (*unet_residuals(config), middle)


def step_engines(options: Options) -> dict[str, Engine]:
    """The engines of the step as export's table has them, by name."""
    table = engines(options)
    return {name: table[name] for name in step_engine_names()}


def engines(options: Options) -> dict[str, Engine]:
    """Every engine of export's table for these networks, by name."""
    return engine_table(_facts(options))


def sizes_of(engine: Engine, options: Options) -> dict[str, int]:
    """The step's sizes by symbol; what runs once has one row."""
    return {**options.networks.step, **({"rows": 1} if engine.name in _ONCE else {})}


def _facts(options: Options) -> Facts:
    size = options.networks
    *down, middle = _residuals(size.unet)
    return Facts(
        latent_channels=4,
        vae_factor=VAE_FACTOR,
        levels=len(size.unet["block_out_channels"]),
        text_width=size.text_widths[0],
        text_width_2=size.text_widths[1],
        pooled_width=size.pooled_width,
        token_count=size.step["tokens"],
        time_id_count=TIME_IDS,
        residuals=tuple(down),
        middle=middle,
        text_readers=tuple(net.engine for net in CONTROLNETS if reads_text(_config(net, options))),
        depth_input=DepthInput(14, None),
        face_token_count=FACE_TOKENS,
        face_embedding_width=512,
        detector_sides=(640,),
        detector_is_fixed=True,
        recognizer_rows=None,
        min_side=64 * size.step["height"],
    )
