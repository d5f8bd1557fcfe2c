"""Whether the parts were made for each other: what one gives has the sizes that another takes."""

from pathlib import Path

from ..checkpoint import Checkpoint, load_ip_adapter
from ..checkpoint.adapter import PROJECTOR
from ..controlnets import CONTROLNETS, ControlNet
from ..errors import CheckpointError
from ..facts import CELL_PX, TIME_IDS, reads_text, unet_residuals
from .configs import Configs, ControlNetConfig, Denoiser
from .faces import FaceModels
from .keys import check_projector_sizes


def check_fit(checkpoint: Checkpoint, configs: Configs, faces: FaceModels) -> None:
    """Raise `CheckpointError` naming the field of one part, and what the other part needs."""
    _check_latents(checkpoint, configs)
    _check_conditioning(checkpoint.unet, configs.unet, configs)
    for net in CONTROLNETS:
        _check_controlnet(net, configs.controlnets[net.engine], checkpoint, configs)
    _check_projector(checkpoint, configs, faces)


def _check_latents(checkpoint: Checkpoint, configs: Configs) -> None:
    unet, vae = checkpoint.unet / "config.json", configs.vae
    for name in ("in_channels", "out_channels"):
        channels = getattr(configs.unet, name)
        if channels != vae.latent_channels:
            hint = " (an inpainting UNet?)" if channels == 2 * vae.latent_channels + 1 else ""
            raise CheckpointError(
                f"{unet}: {name} is {channels}{hint}; "
                f"the latents of {checkpoint.base / 'vae'} have {vae.latent_channels} channels"
            )
    factor, levels = _vae_factor(configs), len(configs.unet.block_out_channels)
    if CELL_PX % (factor * 2 ** (levels - 1)):
        raise CheckpointError(
            f"{unet}: block_out_channels has {levels} levels, which with a VAE of factor {factor} "
            f"do not divide pictures of {CELL_PX}-pixel cells"
        )


def _vae_factor(configs: Configs) -> int:
    return 2 ** (len(configs.vae.block_out_channels) - 1)


def _check_conditioning(folder: Path, network: Denoiser, configs: Configs) -> None:
    """Raise unless a network reads both encoders' tokens, the pooled text, and SDXL's six sizes."""
    path, width = folder / "config.json", configs.text_encoder.hidden_size + configs.text_encoder_2.hidden_size
    if network.cross_attention_dim != width and reads_text(_fields(network)):
        raise CheckpointError(
            f"{path}: cross_attention_dim is {network.cross_attention_dim}; the text encoders make tokens of width "
            f"{configs.text_encoder.hidden_size} + {configs.text_encoder_2.hidden_size}"
        )
    found, pooled = network.projection_class_embeddings_input_dim, configs.text_encoder_2.projection_dim
    needed = pooled + TIME_IDS * network.addition_time_embed_dim
    if found != needed:
        raise CheckpointError(
            f"{path}: projection_class_embeddings_input_dim is {found}; {needed} is needed for base/text_encoder_2's "
            f"projection_dim {pooled} and {TIME_IDS} sizes of {network.addition_time_embed_dim} each"
        )


def _check_controlnet(net: ControlNet, controlnet: ControlNetConfig, checkpoint: Checkpoint, configs: Configs) -> None:
    folder = checkpoint.controlnets[net.engine]
    path, unet = folder / "config.json", checkpoint.unet
    if controlnet.in_channels != configs.unet.in_channels:
        raise CheckpointError(f"{path}: in_channels is {controlnet.in_channels}; {unet} has {configs.unet.in_channels}")
    found, needed = unet_residuals(_fields(controlnet)), unet_residuals(_fields(configs.unet))
    if found != needed:
        raise CheckpointError(
            f"{path}: block_out_channels {controlnet.block_out_channels} and layers_per_block "
            f"{controlnet.layers_per_block} make {len(found)} residuals; {unet} takes {len(needed)}, of "
            f"{configs.unet.block_out_channels} and {configs.unet.layers_per_block}"
        )
    if net.reads_face and not reads_text(_fields(controlnet)):
        raise CheckpointError(
            f"{path}: down_block_types and mid_block_type have no cross-attention, "
            "with which IdentityNet reads the face's tokens"
        )
    _check_conditioning(folder, controlnet, configs)
    steps, factor = len(controlnet.conditioning_embedding_out_channels) - 1, _vae_factor(configs)
    if 2**steps != factor:
        raise CheckpointError(
            f"{path}: conditioning_embedding_out_channels has {steps + 1} entries, which make pictures "
            f"{2**steps} times smaller; {checkpoint.base / 'vae'} makes them {factor} times smaller"
        )


def _check_projector(checkpoint: Checkpoint, configs: Configs, faces: FaceModels) -> None:
    check_projector_sizes(checkpoint)
    path, weights = checkpoint.ip_adapter, load_ip_adapter(checkpoint)[PROJECTOR]
    taken, given = weights["proj_in.weight"].shape[1], weights["proj_out.weight"].shape[0]
    if taken != faces.embedding_width:
        raise CheckpointError(
            f"{path}: {PROJECTOR}'s proj_in.weight takes embeddings of width {taken}; "
            f"{checkpoint.face_recognizer} makes them {faces.embedding_width} wide"
        )
    if given != configs.unet.cross_attention_dim:
        raise CheckpointError(
            f"{path}: {PROJECTOR}'s proj_out.weight makes tokens of width {given}; "
            f"{checkpoint.base / 'unet'} attends to tokens of width {configs.unet.cross_attention_dim}"
        )


def _fields(config: Denoiser) -> dict:
    return config.model_dump()
