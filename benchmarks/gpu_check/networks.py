"""The step's networks with random weights, made on the device: no checkpoint is written or read."""

import zlib
from collections.abc import Callable, Mapping

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn

from export.engines import Engine, engine_table, step_engine_names
from export.facts import DepthInput, Facts, Residual, unet_residuals
from export.networks.build import join_in_one_type
from export.networks.controlnet import ControlNetDepth, ControlNetDepthSmall, IdentityNet
from export.networks.face_attention import add_face_attention
from export.networks.unet import UNet

from .options import Options
from .sizes import Config

VAE_FACTOR, FACE_TOKENS, TIME_IDS = 8, 16, 6


def build(name: str, options: Options, dtype: torch.dtype | None = None) -> nn.Module:
    """Return network ``name``, an engine of the step, on the device and in ``dtype`` (default: the precision's).

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

    Weights: deviation 1 / √fan-in; norms: 1; biases: 0.
    """
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(float(name.endswith("weight")))
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


def _identitynet(options: Options) -> nn.Module:
    controlnet = _controlnet(options.networks.identitynet)
    residuals = _residuals(options.networks.unet)
    return IdentityNet(controlnet, [VAE_FACTOR * 2**residual.level for residual in residuals])


def _controlnet_depth(options: Options) -> nn.Module:
    controlnet = _controlnet(options.networks.depth_nets[options.depth_net])
    return ControlNetDepth(controlnet) if options.depth_net == "full" else ControlNetDepthSmall(controlnet)


def _controlnet(config: Config) -> ControlNetModel:
    controlnet = ControlNetModel(**config)
    join_in_one_type(controlnet)
    return controlnet


_BUILDERS: Mapping[str, Callable[[Options], nn.Module]] = {
    "identitynet": _identitynet,
    "controlnet_depth": _controlnet_depth,
    "unet": _unet,
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
    size = options.networks
    *down, middle = _residuals(size.unet)
    facts = Facts(
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
        depth_net_reads_text=options.depth_net == "full",
        depth_input=DepthInput(14, None),
        face_token_count=FACE_TOKENS,
        face_embedding_width=512,
        detector_sides=(640,),
        detector_is_fixed=True,
        recognizer_rows=None,
        min_side=64 * size.step["height"],
    )
    table = engine_table(facts)
    return {name: table[name] for name in step_engine_names()}
