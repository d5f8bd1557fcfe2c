"""The whole training, a few steps of it: what is written is what was trained, and what is exported."""

from dataclasses import fields, replace

import pytest
import torch
from transformers import CLIPTokenizer

from export.checkpoint import Checkpoint
from export.engines import ROW_OF
from export.facts import read_facts
from export.precision import Precision
from miniature.architecture import CheckpointConfig, DepthConfig, UNetConfig, VaeConfig
from miniature.training.identity import Step
from miniature.training.loop import Schedule, Workplace
from miniature.training.pictures import TrainingPictures
from miniature.training.pipeline import FULL, TrainingSchedule, train_all
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
        tokens = trained.parts.projector(BATCH["face"])
        text = trained.parts.text(BATCH["tokens"])
    write_trained(folder / "checkpoint", trained)
    return Checkpoint.at(folder / "checkpoint"), (noisy, timestep, noise), tokens, text


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
    checkpoint, (noisy, timestep, noise), _, _ = made
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
