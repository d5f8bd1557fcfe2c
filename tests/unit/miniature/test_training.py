"""The whole training, a few steps of it: what is written is what was trained, and what is exported."""

import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from export.checkpoint import Checkpoint
from export.engines import ROW_OF
from export.face_inputs import same_person_cosine
from export.facts import read_facts
from export.few_steps import RECIPES, find_weights
from export.networks.lora import fuse_loras
from export.precision import Precision
from miniature.architecture import CheckpointConfig, DepthConfig, UNetConfig, VaeConfig
from miniature.few_steps import distil
from miniature.small_faces import train_further
from miniature.trained import load_annotators, load_parts, load_unet
from miniature.training.identity import Step
from miniature.training.loop import Schedule, Workplace
from miniature.training.pictures import TrainingPictures
from miniature.training.pipeline import FULL, TrainingSchedule, train_all
from miniature.training.recognizer import embed
from miniature.training.text_to_image import as_second_reads
from miniature.training.writing import write_trained

pytestmark = pytest.mark.slow

CONFIG = CheckpointConfig(
    unet=UNetConfig(channels=(16, 32, 32), heads=(1, 2, 2), condition_channels=(8, 8, 8, 8)),
    vae=VaeConfig(channels=(8, 8, 8, 8)),
    depth=DepthConfig(image_size=32, hidden_size=16, fusion_size=8, neck_sizes=(8, 8, 8, 8)),
    recognizer_channels=(8, 8, 8, 8),
)
BRIEF = Schedule(3, 2, 1e-3)
DRAWN = torch.Generator().manual_seed(0)
BATCH = {
    "tokens": torch.randint(0, 300, (2, 77), generator=DRAWN),
    "with_text": torch.ones(2),
    "with_face": torch.ones(2),
    "face": torch.randn(2, 512, generator=DRAWN),
    "keypoints": torch.randint(0, 255, (2, 3, 128, 128), generator=DRAWN),
    "depth": torch.randint(0, 255, (2, 1, 128, 128), generator=DRAWN),
    "region": torch.ones(2, 1, 128, 128),
    "ip_adapter": torch.full((2, 1), 0.8),
    "identitynet": torch.full((2, 1), 0.8),
    "depth_scale": torch.full((2, 1), 0.5),
}


def open_zero_convolutions(parts):
    """So few steps leave them shut, and then a lost condition would not be seen."""
    for net in (parts.identitynet.controlnet, parts.depth.controlnet):
        for convolution in [
            *net.controlnet_down_blocks,
            net.controlnet_mid_block,
            net.controlnet_cond_embedding.conv_out,
        ]:
            torch.nn.init.normal_(convolution.weight, std=0.2, generator=DRAWN)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    pictures = TrainingPictures(folder / "work", seed=0, parts=2, people=2, each=3, for_detector=4)
    (folder / "work").mkdir()
    place = Workplace(folder / "work", 0, torch.device("cpu"))
    for _ in range(2):  # the second run finds everything finished, as one does that was interrupted at the very end
        trained = train_all(CONFIG, TrainingSchedule(*[BRIEF] * len(fields(TrainingSchedule))), pictures, place)
    open_zero_convolutions(trained.parts)
    noisy, timestep = torch.randn(2, 4, 16, 16, generator=DRAWN), torch.tensor([[500.0], [500.0]])
    with torch.no_grad():
        BATCH["tokens"][:, -1] = 999
        noise = Step(trained.parts, BATCH)(noisy, timestep)
    write_trained(folder / "checkpoint", trained)
    return Checkpoint.at(folder / "checkpoint"), (noisy, timestep, noise), trained.recognizer


def test_a_small_depth_controlnet_is_refused(tmp_path):
    place = Workplace(tmp_path, 0, torch.device("cpu"))
    with pytest.raises(ValueError, match='depth_controlnet is "small"'):
        train_all(replace(CONFIG, depth_controlnet="small"), FULL, TrainingPictures(tmp_path, seed=0), place)
    assert not [*tmp_path.iterdir()]


def test_every_stage_leaves_weights_and_a_curve(made, tmp_path_factory):
    work = made[0].base.parents[1] / "work"
    stages = {field.name for field in fields(TrainingSchedule)}
    assert {path.stem for path in work.glob("*.safetensors")} == stages
    assert {path.stem for path in work.glob("*.csv")} == stages
    assert {path.stem for path in work.glob("*.png")} >= {
        "vae",
        "depth",
        "text_to_image",
        "identity",
        "depth_control",
        "small_faces",
        "decoder",
    }


def test_weights_are_half_precision(made):
    from safetensors import safe_open

    checkpoint = made[0]
    for folder in (
        checkpoint.base / "unet",
        *checkpoint.controlnets.values(),
        checkpoint.base / "vae",
    ):
        with safe_open(folder / "diffusion_pytorch_model.safetensors", "pt") as weights:
            assert {weights.get_tensor(name).dtype for name in weights.offset_keys()} == {torch.float16}


def test_the_exported_engines_predict_the_noise_that_training_predicted(made):
    checkpoint, (noisy, timestep, noise), _ = made
    facts = read_facts(checkpoint)
    engines = {
        name: ROW_OF[name].module(checkpoint, facts, Precision.FP32)
        for name in ("identity_projector", "text_encoder", "text_encoder_2", "identitynet", "controlnet_depth", "unet")
    }
    first, (second, text_embeds) = engines["text_encoder"](BATCH["tokens"]), engines["text_encoder_2"](BATCH["tokens"])
    text, tokens = torch.cat([first, second], -1), engines["identity_projector"](BATCH["face"])
    sizes = torch.tensor([[128.0, 128, 0, 0, 128, 128]] * 2)
    shared = (text_embeds, sizes)
    keypoints, depth = BATCH["keypoints"] / 255, (BATCH["depth"] / 255).expand(-1, 3, -1, -1)
    scale = BATCH["identitynet"]
    controls = engines["identitynet"](noisy, timestep, tokens, keypoints, *shared, scale, BATCH["region"])
    depths = engines["controlnet_depth"](noisy, timestep, text, depth, *shared, BATCH["depth_scale"])
    face = (tokens, BATCH["ip_adapter"], BATCH["region"])
    predicted = engines["unet"](noisy, timestep, text, *face, *shared, *controls, *depths)
    torch.testing.assert_close(predicted, noise, rtol=0.02, atol=0.02)


def test_a_written_recogniser_sees_faces_as_the_trained_one_did_and_says_who_is_the_same(made):
    assert same_person_cosine(made[0].face_recognizer) == 0.45
    checkpoint, _, recognizer = made
    faces = np.random.default_rng(0).integers(256, size=(3, 112, 112, 3), dtype=np.uint8)
    parts = load_parts(checkpoint, load_unet(checkpoint), torch.device("cpu"))
    annotators = load_annotators(checkpoint, CONFIG, parts, torch.device("cpu"))
    np.testing.assert_allclose(annotators.embed(faces), embed(recognizer, faces), rtol=1e-3, atol=1e-3)


def again(folder):
    """What a further training of the checkpoint is given beside it."""
    pictures = TrainingPictures(folder, seed=1, parts=2, people=2, each=3)
    return CONFIG, pictures, BRIEF, Workplace(folder, 1, torch.device("cpu"))


def test_a_written_checkpoint_is_trained_further(made, tmp_path):
    source, further = made[0].base.parent, tmp_path / "further"
    train_further(source, further, *again(tmp_path))
    files = {path.relative_to(source): path for path in source.rglob("*") if path.is_file()}
    assert {path.relative_to(further) for path in further.rglob("*") if path.is_file()} == set(files)
    moved = {name for name, path in files.items() if path.read_bytes() != (further / name).read_bytes()}
    weights = "diffusion_pytorch_model.safetensors"
    step = {Path("base/unet"), Path("base/vae"), Path("instantid/ControlNetModel"), Path("controlnet-depth")}
    assert moved == {Path("instantid/ip-adapter.bin"), *(folder / weights for folder in step)}
    before, after = (load_file(folder / "base/unet" / weights) for folder in (source, further))
    assert max((after[name].float() - before[name].float()).abs().max() for name in before) < 0.1
    trained = load_file(tmp_path / "small_faces.safetensors")["unet.unet.conv_in.weight"]
    assert not torch.equal(trained, before["conv_in.weight"].float())
    torch.testing.assert_close(
        after["conv_in.weight"].float(), (before["conv_in.weight"] + trained) / 2, rtol=1e-3, atol=1e-4
    )
    before, after = (load_file(folder / "base/vae" / weights) for folder in (source, further))
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}


def test_a_lora_for_few_steps_is_distilled_and_fused(made, tmp_path):
    source = tmp_path / "checkpoint"
    shutil.copytree(made[0].base.parent, source)
    distil(source, *again(tmp_path / "work"))
    unet = UNet2DConditionModel.from_pretrained(source / "base/unet")
    lora = find_weights(RECIPES["lcm"], None, source).lora
    assert lora is not None
    fuse_loras(unet, "unet", replace(Checkpoint.at(source), loras=(lora,)))
    before = load_file(source / "base/unet/diffusion_pytorch_model.safetensors")
    moved = [name for name, value in unet.state_dict().items() if not torch.equal(value, before[name].float())]
    for layer in ("attn1.to_out.0", "attn2.to_q", "ff.net.2", "proj_in", "conv1", "time_emb_proj"):
        assert any(name.endswith(f"{layer}.weight") for name in moved), layer


def test_one_tokenization_serves_both_encoders(made):
    sentences = ["Photo of a woman wearing a Superman costume", "", "an orange hoodie, in a city"]
    first, second = (
        CLIPTokenizer.from_pretrained(made[0].base / name)(
            sentences, padding="max_length", return_tensors="pt"
        ).input_ids
        for name in ("tokenizer", "tokenizer_2")
    )
    assert not torch.equal(first, second)
    assert torch.equal(as_second_reads(first), second)


def test_a_share_of_the_plan_has_fewer_steps():
    assert FULL.shortened(0.001).vae.steps == 9
    assert FULL.shortened(0.001).vae.batch == FULL.vae.batch
