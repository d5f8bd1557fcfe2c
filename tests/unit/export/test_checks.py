"""What is wrong with a checkpoint is told in one sentence, with the file and the key or field, before any engine."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.__main__ import main
from export.checkpoint import Checkpoint
from export.checks import check_checkpoint, check_values
from export.checks.configs import check_depth, read_configs
from export.checks.faces import FaceModels
from export.checks.fit import check_fit
from export.checks.keys import check_keys
from export.checks.tokenizers import check_tokenizers
from export.errors import CheckpointError
from tests.unit.export.broken_checkpoints import (
    Break,
    Tensors,
    adapter,
    also,
    as_directory,
    changed,
    cut,
    face_model,
    fewer_outputs,
    fields,
    grey_input,
    linked_copy,
    narrower_embedding,
    outputs_in_other_order,
    prefixed,
    put,
    raw,
    removed,
    weights,
    without,
)

UNET, VAE = "base/unet/config.json", "base/vae/config.json"
TEXT, TEXT_2 = "base/text_encoder/config.json", "base/text_encoder_2/config.json"
IDENTITYNET, DEPTH_NET = "instantid/ControlNetModel/config.json", "controlnet-depth/config.json"
TOKENIZER, TOKENIZER_2 = "base/tokenizer", "base/tokenizer_2"
SCHEDULER = "base/scheduler/scheduler_config.json"
ADAPTER, SCRFD, ARCFACE = "instantid/ip-adapter.bin", "antelopev2/scrfd_10g_bnkps.onnx", "antelopev2/glintr100.onnx"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5135149760\n"
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model.safetensors", "model.safetensors"
EMBEDDING = "text_model.embeddings.token_embedding.weight"


@pytest.fixture
def folder(miniature_checkpoint: Path, tmp_path: Path) -> Path:
    return linked_copy(miniature_checkpoint, tmp_path / "checkpoint")


def refusal(folder: Path, check: Callable[[Checkpoint], None] = check_checkpoint) -> str:
    with pytest.raises(CheckpointError) as caught:
        check(Checkpoint.at(folder))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence.replace(f"{folder}/", "")


def check_configs(checkpoint: Checkpoint) -> None:
    """What `check_checkpoint` says of configs, without the seconds that it takes for the weights."""
    configs = read_configs(checkpoint)
    check_depth(checkpoint)
    check_tokenizers(checkpoint, configs)
    check_fit(checkpoint, configs, FaceModels(embedding_width=512))


def check_weights_of(*engines: str) -> Callable[[Checkpoint], None]:
    return lambda checkpoint: check_keys(checkpoint, engines)


def nested_adapter(part: str, edit: Callable[[Tensors], Tensors]) -> Break:
    return adapter(lambda content: content | {part: edit(content[part])})


def test_the_shipped_checkpoint_is_sound(folder: Path) -> None:
    check_checkpoint(Checkpoint.at(folder))


FILES: list[tuple[Break, str]] = [
    (raw(UNET, b"\xef\xbb\xbf{}"), rf"{UNET} begins with a byte-order mark"),
    (raw(VAE, b"{'a': 1}"), rf"{VAE} is not JSON"),
    (raw(VAE, b"[1, 2]"), rf"{VAE} holds a JSON list"),
    (raw(VAE, b""), rf"{VAE} is empty"),
    (raw(TEXT, b'{"a": "\xe9"}'), rf"{TEXT} is not UTF-8"),
    (raw(DEPTH_NET, LFS), rf"{DEPTH_NET} is only Git LFS's pointer"),
    (as_directory(TEXT_2), rf"{TEXT_2} is a directory"),
    (as_directory(ADAPTER), rf"{ADAPTER} is a directory"),
    (raw(SCHEDULER, b"null"), "scheduler_config.json holds a JSON NoneType"),
    (raw("depth/preprocessor_config.json", b"{"), "preprocessor_config.json is not JSON"),
    (raw("base/model_index.json", b'{"force_zeros_for_empty_prompt": "no"}'), "force_zeros_for_empty_prompt is 'no'"),
    (raw(f"base/unet/{DIFFUSERS}", LFS), rf"base/unet/{DIFFUSERS} is only Git LFS's pointer"),
    (cut(f"base/unet/{DIFFUSERS}"), rf"base/unet/{DIFFUSERS} is not a whole \.safetensors file"),
    (cut(f"base/vae/{DIFFUSERS}", 0.001), rf"base/vae/{DIFFUSERS} is not a whole \.safetensors file"),
    (raw(f"base/text_encoder/{TRANSFORMERS}", b""), rf"base/text_encoder/{TRANSFORMERS} is empty"),
    (removed(f"depth/{TRANSFORMERS}"), r"depth holds no weights: model\.safetensors is needed"),
    (cut(ADAPTER), rf"{ADAPTER} is not whole"),
    (raw(ADAPTER, b"no pickle at all"), rf"{ADAPTER} holds more than tensors, or is no file of PyTorch's"),
    (cut(ARCFACE), ARCFACE),
    (raw(SCRFD, LFS), rf"{SCRFD} is only Git LFS's pointer"),
    (raw(f"{TOKENIZER}/vocab.json", b"\xef\xbb\xbf{}"), "vocab.json begins with a byte-order mark"),
    (raw(f"{TOKENIZER_2}/special_tokens_map.json", b"{"), "special_tokens_map.json is not JSON"),
    (cut(f"{TOKENIZER}/merges.txt", 0.502), "vocab.json lacks|merges.txt: .* is no pair|lacks the token"),
]  # fmt: skip
CONFIGS: list[tuple[Break, str]] = [
    (adapter(lambda content: content | {"image_proj": {"proj.weight": torch.zeros(8192, 1280)}}),
     rf"{ADAPTER}: image_proj lacks latents, and has proj.weight"),
    (nested_adapter("image_proj", changed("layers.0.0.to_q.weight", lambda x: x[:100])),
     rf"{ADAPTER}: image_proj's layers.0.0.to_q.weight makes 100 numbers"),
    (nested_adapter("image_proj", changed("proj_in.weight", lambda x: x[:, :256])),
     rf"{ADAPTER}: image_proj's proj_in.weight takes embeddings of width 256; {ARCFACE} makes them 512 wide"),
    (nested_adapter("image_proj", changed("proj_out.weight", lambda x: x[:64])),
     rf"{ADAPTER}: image_proj's proj_out.weight makes tokens of width 64; base/unet attends to tokens of width 128"),
    (fields(UNET, time_cond_proj_dim="wide"), rf"{UNET}: time_cond_proj_dim is \"wide\"; it should be .*integer"),
    (fields(UNET, in_channels=9), rf"{UNET}: in_channels is 9 \(an inpainting UNet\?\); .*base/vae have 4 channels"),
    (fields(UNET, out_channels=8), rf"{UNET}: out_channels is 8; .*4 channels"),
    (fields(UNET, in_channels=None), rf"{UNET}: in_channels is null; it should be a valid integer"),
    (fields(UNET, "in_channels"), rf"{UNET}: in_channels is missing"),
    (fields(UNET, class_embed_type="timestep"), rf"{UNET}: class_embed_type is \"timestep\""),
    (fields(UNET, num_class_embeds=10), rf"{UNET}: num_class_embeds is 10"),
    (fields(UNET, encoder_hid_dim=4096, encoder_hid_dim_type="text_proj"), rf"{UNET}: encoder_hid_dim is 4096"),
    (fields(UNET, dual_cross_attention=True), rf"{UNET}: dual_cross_attention is true"),
    (fields(UNET, attention_type="gated"), rf"{UNET}: attention_type is \"gated\""),
    (fields(UNET, cross_attention_norm="layer_norm"), rf"{UNET}: cross_attention_norm"),
    (fields(UNET, addition_embed_type=None), rf"{UNET}: addition_embed_type is null; it should be 'text_time'"),
    (fields(UNET, addition_embed_type="text"), rf"{UNET}: addition_embed_type is \"text\""),
    (fields(UNET, _class_name="FluxTransformer2DModel"), rf"{UNET}: _class_name is \"FluxTransformer2DModel\""),
    (fields(UNET, block_out_channels=[64, -96, 128]), rf"{UNET}: block_out_channels .* greater than 0"),
    (fields(UNET, block_out_channels=[64, 0, 128]), rf"{UNET}: block_out_channels .* greater than 0"),
    (fields(UNET, block_out_channels="64"), rf"{UNET}: block_out_channels is \"64\""),
    (fields(UNET, block_out_channels=[64, 96]), rf"{UNET}: down_block_types has 3 entries; block_out_channels has 2"),
    (fields(UNET, sample_size="big"), rf"{UNET}: sample_size is \"big\""),
    (fields(UNET, down_block_types=["DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D"]), "down_block_types"),
    (fields(UNET, cross_attention_dim=2048), rf"{UNET}: cross_attention_dim is 2048; .* 48 \+ 80"),
    (fields(UNET, projection_class_embeddings_input_dim=240),
     rf"{UNET}: projection_class_embeddings_input_dim is 240; 272 is needed"),
    (fields(IDENTITYNET, _class_name="ControlNetModel_Union", num_control_type=6), rf"{IDENTITYNET}: _class_name"),
    (fields(IDENTITYNET, "_class_name", num_control_type=6),
     rf"{IDENTITYNET}: num_control_type is no field of diffusers' ControlNetModel"),
    (fields(IDENTITYNET, global_pool_conditions=True), rf"{IDENTITYNET}: global_pool_conditions is true"),
    (fields(IDENTITYNET, down_block_types=["DownBlock2D"] * 3, mid_block_type="UNetMidBlock2D"),
     rf"{IDENTITYNET}: .* no cross-attention"),
    (fields(DEPTH_NET, _class_name="T2IAdapter"), rf"{DEPTH_NET}: _class_name is \"T2IAdapter\""),
    (fields(DEPTH_NET, conditioning_channels=1), rf"{DEPTH_NET}: conditioning_channels is 1; it should be 3"),
    (fields(DEPTH_NET, conditioning_embedding_out_channels=[8, 12, 16]),
     rf"{DEPTH_NET}: conditioning_embedding_out_channels .* 4 times smaller; .*base/vae makes them 8"),
    (fields(DEPTH_NET, layers_per_block=2), rf"{DEPTH_NET}: .* make 9 residuals; .*base/unet takes 6"),
    (fields(DEPTH_NET, cross_attention_dim=64), rf"{DEPTH_NET}: cross_attention_dim is 64"),
    (fields(VAE, _class_name="AutoencoderTiny"), rf"{VAE}: _class_name is \"AutoencoderTiny\""),
    (fields(VAE, "scaling_factor"), rf"{VAE}: scaling_factor is missing"),
    (fields(VAE, scaling_factor=None), rf"{VAE}: scaling_factor is null"),
    (fields(VAE, scaling_factor=0), rf"{VAE}: scaling_factor is 0"),
    (fields(VAE, shift_factor=0.1), rf"{VAE}: shift_factor is 0.1, which is not supported; it should be null"),
    (fields(VAE, latents_mean=[0.0, 0.0]), rf"{VAE}: latents_mean has 2 entries; latent_channels is 4"),
    (fields(VAE, latent_channels=16), rf"{UNET}: in_channels is 4; .* 16 channels"),
    (fields(VAE, out_channels=4), rf"{VAE}: out_channels is 4"),
    (fields(TEXT, architectures=["T5EncoderModel"]), rf"{TEXT}: architectures"),
    (fields(TEXT, hidden_size=None), rf"{TEXT}: hidden_size is null"),
    (fields(TEXT, num_attention_heads=5), rf"{TEXT}: hidden_size 48 is no multiple of 5 heads"),
    (fields(TEXT, hidden_act="gelu_of_mine"), rf"{TEXT}: hidden_act"),
    (fields(TEXT_2, num_hidden_layers=1), rf"{TEXT_2}: num_hidden_layers is 1"),
    (fields(TEXT_2, eos_token_id=7), rf"{TEXT_2}: eos_token_id is 7; .*base/tokenizer_2 ends a prompt with"),
    (fields("depth/config.json", model_type="zoedepth"), r"depth/config.json: model_type is 'zoedepth'"),
    (fields("depth/config.json", hidden_size="wide"), r"depth/config.json"),
    (fields("depth/preprocessor_config.json", size={"height": 0, "width": 0}), "preprocessor_config.json"),
]  # fmt: skip
KEYS: list[tuple[str, Break, str]] = [
    ("unet", fields(UNET, norm_num_groups=7), rf"{UNET} describes no UNet2DConditionModel: .*divisible"),
    ("unet", weights(f"base/unet/{DIFFUSERS}", without("conv_in.bias")),
     "base/unet/.* lacks conv_in.bias, which its UNet2D"),
    ("unet", weights(f"base/unet/{DIFFUSERS}", also("time_embedding.cond_proj.weight", 4)),
     "base/unet/.* has time_embedding.cond_proj.weight, which its UNet2DConditionModel does not read"),
    ("unet", weights(f"base/unet/{DIFFUSERS}", changed("conv_out.bias", lambda x: x[:2])),
     r"base/unet/.*: conv_out.bias has the shape \(2,\); its UNet2DConditionModel needs \(4,\)"),
    ("unet", weights(f"base/unet/{DIFFUSERS}", changed("conv_out.bias", lambda x: x.to(torch.int8))),
     "base/unet/.*: conv_out.bias is int8; floats are needed"),
    ("vae_decoder", weights(f"base/vae/{DIFFUSERS}", without("decoder.conv_in.weight")),
     "base/vae/.* lacks decoder.conv_in.weight"),
    ("identitynet", weights(f"instantid/ControlNetModel/{DIFFUSERS}", also("task_embedding", 6, 64)),
     "instantid/ControlNetModel/.* has task_embedding"),
    ("controlnet_depth", weights(f"controlnet-depth/{DIFFUSERS}", without("controlnet_mid_block.bias")),
     "controlnet-depth/.* lacks controlnet_mid_block.bias"),
    ("text_encoder", weights(f"base/text_encoder/{TRANSFORMERS}", prefixed("cond_stage_model.")),
     "base/text_encoder/.* lacks "),
    ("text_encoder", weights(f"base/text_encoder/{TRANSFORMERS}", also("text_projection.weight", 48, 48)),
     "base/text_encoder/.* has text_projection.weight"),
    ("text_encoder_2", weights(f"base/text_encoder_2/{TRANSFORMERS}", without("text_projection.weight")),
     "base/text_encoder_2/.* lacks text_projection.weight"),
    ("text_encoder_2", weights(f"base/text_encoder_2/{TRANSFORMERS}", changed(EMBEDDING, lambda x: x[:900])),
     r"base/text_encoder_2/.*token_embedding.weight has the shape \(900, 80\)"),
    ("depth_estimator", weights(f"depth/{TRANSFORMERS}", without("head.head.4.bias")),
     "depth/.* lacks head.head.4.bias"),
    ("depth_estimator", weights(f"depth/{TRANSFORMERS}", also("auxiliary_head.weight", 3)),
     "depth/.* has auxiliary_head.weight"),
    ("identity_projector", adapter(lambda content: {"image_proj": content["image_proj"]}),
     rf"{ADAPTER} holds \['image_proj'\]"),
    ("identity_projector", adapter(lambda content: content | {"lora": {}}), rf"{ADAPTER} holds "),
    ("identity_projector", nested_adapter("image_proj", without("norm_out.bias")),
     rf"{ADAPTER} lacks norm_out.bias, which image_proj"),
    ("identity_projector", nested_adapter("image_proj", also("perceiver.weight", 2)),
     rf"{ADAPTER} has perceiver.weight"),
    ("identity_projector", nested_adapter("image_proj", changed("layers.1.0.to_kv.weight", lambda x: x[:-1])),
     rf"{ADAPTER}: layers.1.0.to_kv.weight has the shape"),
    ("unet", nested_adapter("ip_adapter", lambda t: {k.replace("1.", "2.", 1): v for k, v in t.items()}),
     rf"{ADAPTER} lacks 1.to_k_ip.weight"),
    ("unet", nested_adapter("ip_adapter", also("99.to_k_ip.weight", 64, 128)), rf"{ADAPTER} has 99.to_k_ip.weight"),
    ("unet", nested_adapter("ip_adapter", changed("1.to_v_ip.weight", lambda x: x[:, :64])),
     rf"{ADAPTER}: 1.to_v_ip.weight has the shape \(96, 64\)"),
]  # fmt: skip
OTHERS: list[tuple[Break, str]] = [
    (removed(f"{TOKENIZER}/merges.txt"), "tokenizer/merges.txt is missing"),
    (removed(f"{TOKENIZER_2}/vocab.json"), "tokenizer_2/vocab.json is missing"),
    (lambda f: (removed(f"{TOKENIZER}/merges.txt")(f), removed(f"{TOKENIZER}/vocab.json")(f)),
     "base/tokenizer has no vocabulary"),
    (fields(f"{TOKENIZER}/vocab.json", "a</w>"), "vocab.json lacks '?\"?a</w>"),
    (raw(f"{TOKENIZER_2}/added_tokens.json", b'{"<my-style>": 5000}'),
     "base/tokenizer_2: the added token '<my-style>' has the id 5000"),
    (fields(f"{TOKENIZER_2}/vocab.json", zebra=1000),
     "base/tokenizer_2: the token 'zebra' has the id 1000; base/text_encoder_2/config.json has a vocab_size of 1000"),
    (fields(f"{TOKENIZER_2}/tokenizer_config.json", added_tokens_decoder={"1003": {"content": "<my-style>"}}),
     "base/tokenizer_2: the added token '<my-style>' has the id 1003"),
    (fields(f"{TOKENIZER}/tokenizer_config.json", model_max_length="long"), "model_max_length is 'long'"),
    (fields(f"{TOKENIZER}/tokenizer_config.json", model_max_length=-1), "model_max_length is -1"),
    (fields(f"{TOKENIZER}/tokenizer_config.json", tokenizer_class="T5Tokenizer"), "tokenizer_class is 'T5Tokenizer'"),
    (face_model("scrfd_10g_bnkps.onnx", fewer_outputs), rf"{SCRFD} makes 6 outputs"),
    (face_model("scrfd_10g_bnkps.onnx", outputs_in_other_order), rf"{SCRFD} makes 9 outputs"),
    (face_model("glintr100.onnx", grey_input), rf"{ARCFACE} does not take a picture of shape"),
    (face_model("glintr100.onnx", narrower_embedding),
     "takes embeddings of width 512; .*glintr100.onnx makes them 128"),
    (lambda f: put(f / SCRFD, (f / ARCFACE).read_bytes()), SCRFD),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "expected"), [*FILES, *OTHERS])
def test_a_file_that_is_wrong_is_named(folder: Path, broken: Break, expected: str) -> None:
    broken(folder)
    sentence = refusal(folder)
    assert re.search(expected, sentence), sentence


@pytest.mark.parametrize(("broken", "expected"), CONFIGS)
def test_a_field_that_is_wrong_is_named(folder: Path, broken: Break, expected: str) -> None:
    broken(folder)
    sentence = refusal(folder, check_configs)
    assert re.search(expected, sentence), sentence


@pytest.mark.parametrize(("engine", "broken", "expected"), KEYS)
def test_a_key_that_is_wrong_is_named(folder: Path, engine: str, broken: Break, expected: str) -> None:
    broken(folder)
    sentence = refusal(folder, check_weights_of(engine))
    assert re.search(expected, sentence), sentence


ACCEPTED: list[tuple[str, Break]] = [
    ("unet", fields(UNET, "_class_name")),
    ("unet", fields(UNET, upcast_attention=None, _name_or_path="/somewhere")),
    ("unet", fields(UNET, sample_size=None)),
    ("vae_decoder", fields(VAE, "latents_mean", "shift_factor", latents_std=[1.0, 2.0, 1.0, 1.0], sample_size=1024)),
    ("identitynet", fields(IDENTITYNET, controlnet_conditioning_channel_order="bgr", num_class_embeds=None)),
    ("text_encoder", fields(TEXT, "architectures", "model_type", dropout=0.0, torch_dtype="float16")),
    ("text_encoder", fields(f"{TOKENIZER}/tokenizer_config.json", model_max_length=1000000000000000019884624838656)),
    ("text_encoder", weights(f"base/text_encoder/{TRANSFORMERS}", also("text_model.embeddings.position_ids", 1, 77))),
    ("text_encoder", weights(f"base/text_encoder/{TRANSFORMERS}", prefixed("text_model."))),
    ("depth_estimator", weights(f"depth/{TRANSFORMERS}", lambda tensors: {
        k: v for k, v in tensors.items() if ".layers.0.residual_layer1." not in k
    })),
    ("vae_decoder", weights(f"base/vae/{DIFFUSERS}", lambda t: {
        k.replace("to_q", "query").replace("to_k", "key").replace("to_v", "value").replace("to_out.0", "proj_attn"): v
        for k, v in t.items()
    })),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "variation"), ACCEPTED)
def test_what_the_libraries_load_rightly_is_accepted(folder: Path, engine: str, variation: Break) -> None:
    variation(folder)
    check_configs(Checkpoint.at(folder))
    check_weights_of(engine)(Checkpoint.at(folder))


def test_a_vae_in_diffusers_old_names_has_attention_to_rename(miniature_checkpoint: Path) -> None:
    assert any("to_q" in key for key in load_file(miniature_checkpoint / "base/vae" / DIFFUSERS))


@pytest.mark.parametrize(("name", "engine"), [
    (f"base/unet/{DIFFUSERS}", "unet"), (f"base/text_encoder/{TRANSFORMERS}", "text_encoder"),
])  # fmt: skip
@pytest.mark.parametrize(("value", "fault"), [(torch.nan, "NaN or infinite"), (-torch.inf, "NaN or infinite")])
def test_a_weight_that_is_no_number_is_named(folder: Path, name: str, engine: str, value: float, fault: str) -> None:
    key = next(iter(load_file(folder / name)))
    weights(name, changed(key, lambda tensor: tensor.index_fill(0, torch.tensor([0]), value)))(folder)
    with pytest.raises(CheckpointError, match=rf"{name}: the weight {re.escape(key)} has values that are {fault}"):
        check_values(Checkpoint.at(folder), engine, torch.float32)


def test_a_weight_beyond_fp16_is_refused_for_fp16_only(folder: Path) -> None:
    name = f"controlnet-depth/{DIFFUSERS}"
    weights(name, changed("conv_in.bias", lambda tensor: tensor.float() + 1e5))(folder)
    checkpoint = Checkpoint.at(folder)
    check_values(checkpoint, "controlnet_depth", torch.bfloat16)
    with pytest.raises(CheckpointError, match=r"conv_in.bias .* too large for float16"):
        check_values(checkpoint, "controlnet_depth", torch.float16)


@pytest.mark.parametrize(("broken", "named"), [
    (fields(VAE, "scaling_factor"), "scaling_factor"),
    (weights(f"base/text_encoder/{TRANSFORMERS}", prefixed("cond_stage_model.")), "base/text_encoder"),
    (weights(f"base/vae/{DIFFUSERS}", changed("decoder.conv_out.bias", lambda x: x * torch.nan)),
     "decoder.conv_out.bias"),
    (fields(SCHEDULER, use_karras_sigmas=True, use_exponential_sigmas=True), SCHEDULER),
])  # fmt: skip
def test_the_command_says_it_in_one_line_and_makes_nothing(
    folder: Path, tmp_path: Path, broken: Break, named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    broken(folder)
    assert main(["onnx", "--checkpoint", str(folder), "--output", str(tmp_path / "out")]) == 1
    said = capfd.readouterr().err.strip()
    assert said.startswith("export: ")
    assert named in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_shards_with_their_index_are_read(folder: Path) -> None:
    part = folder / "base" / "text_encoder"
    tensors = load_file(part / TRANSFORMERS)
    names = sorted(tensors)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for name, keys in halves.items():
        save_file({key: tensors[key] for key in keys}, part / name, {"format": "pt"})
    listed = {key: name for name, keys in halves.items() for key in keys}
    (part / f"{TRANSFORMERS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    (part / TRANSFORMERS).unlink()
    check_weights_of("text_encoder")(Checkpoint.at(folder))
    (part / "model-00002-of-00002.safetensors").unlink()
    assert re.search(
        r"base/text_encoder/model-00002-of-00002.safetensors is missing: .*index.json",
        refusal(folder, check_weights_of("text_encoder")),
    )
