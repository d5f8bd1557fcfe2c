"""The published layouts pass: SDXL's own sizes without its bytes, each form of its files, and every weight arrives."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from benchmarks.sdxl_checkpoint import CONTROLNET, CONTROLNET_SMALL, UNET
from export.checkpoint import Checkpoint
from export.checkpoint.weights import DIFFUSERS, TRANSFORMERS, find_weights
from export.checks.configs import read_configs
from export.checks.faces import FaceModels
from export.checks.fit import check_fit
from export.checks.keys import check_keys, network_parts
from export.engines import ROW_OF
from export.errors import CheckpointError
from export.facts import read_facts
from export.fetching.downloads import select
from export.fetching.published import DEPTH_NETS, SDXL
from export.networks.face_attention import attention_shapes
from export.networks.identity_projector import IdentityProjector
from export.precision import Precision
from tests.unit.export.broken_checkpoints import linked_copy, put

VAE = {
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.20.0.dev0", "_name_or_path": "../sdxl-vae/",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True,
    "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
    "sample_size": 1024, "scaling_factor": 0.13025, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
TEXT = {
    "architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2,
    "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0, "initializer_range": 0.02,
    "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model",
    "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1, "projection_dim": 768,
    "torch_dtype": "float16", "transformers_version": "4.32.0.dev0", "vocab_size": 49408,
}  # fmt: skip
TEXT_2 = TEXT | {
    "architectures": ["CLIPTextModelWithProjection"], "hidden_act": "gelu", "hidden_size": 1280,
    "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32, "projection_dim": 1280,
}  # fmt: skip
RESAMPLER = {
    "latents": (1, 16, 1280), "proj_in.weight": (1280, 512), "proj_out.weight": (2048, 1280),
    **{f"layers.{layer}.0.to_q.weight": (1280, 1280) for layer in range(4)}, "layers.0.1.1.weight": (5120, 1280),
}  # fmt: skip
"""InstantID's, as far as other sizes follow from these."""


def hollow(shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor of this shape that is one number in memory and in a file."""
    return torch.zeros(()).expand(shape)


def write_sparse(path: Path, network: nn.Module, prefix: str = "") -> None:
    """Write a .safetensors file of fp16 whose data is a hole: the right names, shapes and length, no bytes on disk."""
    header, end = {}, 0
    for name, tensor in network.state_dict().items():
        begin, end = end, end + 2 * tensor.numel()
        header[prefix + name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def write_part(folder: Path, network: nn.Module, config: dict, file: str, prefix: str = "") -> None:
    for path in folder.iterdir():
        path.unlink()
    put(folder / "config.json", json.dumps(config).encode())
    write_sparse(folder / file, network, prefix)


@pytest.fixture(scope="module")
def sdxl(miniature_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published sizes, fields and file names; what is small (tokenizers, depth, faces) is the miniature's."""
    folder = linked_copy(miniature_checkpoint, tmp_path_factory.mktemp("sdxl") / "checkpoint")
    unet = {
        "_class_name": "UNet2DConditionModel",
        "in_channels": 4,
        "time_cond_proj_dim": None,
        "upcast_attention": None,
    }
    net = {"_class_name": "ControlNetModel", "in_channels": 4, "class_embed_type": None, "upcast_attention": None}
    with init_empty_weights():
        networks = {
            "base/unet": (UNet2DConditionModel(**UNET), UNET | unet),
            "base/vae": (AutoencoderKL(**{k: v for k, v in VAE.items() if k[0] != "_"}), VAE),
            "instantid/ControlNetModel": (ControlNetModel(**CONTROLNET), CONTROLNET | net),
            "controlnet-depth": (
                ControlNetModel(**CONTROLNET_SMALL, mid_block_type="UNetMidBlock2D"),
                CONTROLNET_SMALL | net | {"mid_block_type": "UNetMidBlock2D"},
            ),
        }
        text, text_2 = CLIPTextModel(CLIPTextConfig(**TEXT)), CLIPTextModelWithProjection(CLIPTextConfig(**TEXT_2))
    for part, (network, config) in networks.items():
        write_part(folder / part, network, config, "diffusion_pytorch_model.fp16.safetensors")
    write_part(folder / "base/text_encoder", text, TEXT, "model.fp16.safetensors", "text_model.")
    write_part(folder / "base/text_encoder_2", text_2, TEXT_2, "model.fp16.safetensors")
    shapes = {name: hollow(shape) for name, shape in RESAMPLER.items()}
    projector = IdentityProjector.empty(shapes).state_dict()
    attention = attention_shapes(networks["base/unet"][0])
    adapter = {
        "image_proj": {name: hollow(tuple(tensor.shape)) for name, tensor in projector.items()},
        "ip_adapter": {name: hollow(shape) for name, shape in attention.items()},
    }
    (folder / "instantid/ip-adapter.bin").unlink()
    torch.save(adapter, folder / "instantid/ip-adapter.bin")
    return folder


@pytest.mark.slow
def test_a_checkpoint_of_sdxls_published_sizes_is_accepted(sdxl: Path) -> None:
    checkpoint = Checkpoint.at(sdxl)
    check_fit(checkpoint, read_configs(checkpoint), FaceModels(embedding_width=512))
    check_keys(checkpoint)
    facts = read_facts(checkpoint)
    assert (facts.cross_attention_width, facts.pooled_width, facts.min_side) == (2048, 1280, 1024)
    assert facts.text_readers == ("identitynet",)


LISTINGS = [
    ["model.safetensors", "model.fp16.safetensors"],
    ["model.fp16.safetensors", "model.onnx", "openvino_model.bin", "flax_model.msgpack"],
    ["model.bf16.safetensors", "model.safetensors"],
    ["pytorch_model.fp16.bin", "model.safetensors"],
    ["pytorch_model.bin", "pytorch_model.fp16.bin"],
    ["pytorch_model.bin", "model.non_ema.safetensors"],
]


@pytest.mark.parametrize("names", LISTINGS)
def test_of_several_forms_export_takes_the_one_that_fetch_takes(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    folder = "text_encoder"
    listing = [*SDXL.needs, *(f"{folder}/{name}" for name in names)]
    fetched = [path for path in select(SDXL, listing, full_weights=False) if path.startswith(f"{folder}/")]
    assert {f"{folder}/{path.name}" for path in find_weights(tmp_path, TRANSFORMERS)} == {*fetched} - {*SDXL.needs}


@pytest.mark.parametrize(("names", "chosen"), [
    (["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
      "diffusion_pytorch_model-00001-of-00002.safetensors"], "diffusion_pytorch_model.safetensors"),
    (["diffusion_pytorch_model.bin", "model.safetensors"], "diffusion_pytorch_model.bin"),
])  # fmt: skip
def test_a_whole_file_of_the_library_comes_first(tmp_path: Path, names: list[str], chosen: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in find_weights(tmp_path, DIFFUSERS)] == [chosen]


@pytest.mark.parametrize(
    "names", [["unet.safetensors"], ["diffusion_pytorch_model.non_ema.bin"], ["openvino_model.bin"]]
)
def test_files_of_other_names_are_no_weights(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"holds no weights: diffusion_pytorch_model.safetensors is needed"):
        find_weights(tmp_path, DIFFUSERS)


def test_fetch_takes_bf16_before_full_weights_unless_told() -> None:
    source = DEPTH_NETS["full"]
    names = ["config.json", "diffusion_pytorch_model.bf16.safetensors", "diffusion_pytorch_model.safetensors"]
    assert select(source, names, full_weights=False) == names[:2]
    assert select(source, names, full_weights=True) == [names[0], names[2]]


@pytest.mark.parametrize(
    "engine", ["text_encoder", "text_encoder_2", "depth_estimator", "identitynet", "unet", "vae_decoder"]
)
def test_every_weight_of_the_file_is_in_the_network(miniature_checkpoint: Path, engine: str) -> None:
    checkpoint = Checkpoint.at(miniature_checkpoint)
    module = ROW_OF[engine].module(checkpoint, read_facts(checkpoint), Precision.FP16)
    (file,) = (miniature_checkpoint / network_parts(checkpoint)[engine][1]).glob("*.safetensors")
    held = {(p.shape, digest(p)) for p in module.state_dict().values()}
    for key, tensor in load_file(file).items():
        assert (tensor.shape, digest(tensor)) in held, key


def digest(tensor: torch.Tensor) -> bytes:
    return np.ascontiguousarray(tensor.half().numpy()).tobytes()
