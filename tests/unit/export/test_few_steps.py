"""Checkpoints for few steps: timesteps and settings are those of the publishers' model cards, in diffusers."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from denoising import prepare_scheduler

from export.__main__ import _parser, main
from export.checkpoint import Checkpoint, Lora
from export.errors import CheckpointError
from export.fetching.published import FEW_STEPS
from export.few_steps import RECIPES, FewStepWeights, Recipe, find_weights
from export.networks.guidance import fuse_guidance
from export.repository import Export
from export.schedulers import Schedulers, read_schedulers
from insta_depth_shared.manifest import Manifest
from tests.reference.scheduler import SDXL
from tests.unit.denoising.fakes import make_manifest
from tests.unit.export.hub_stand_in import StandIn, serving

KARRAS = SDXL | {
    "_class_name": "DPMSolverMultistepScheduler",
    "algorithm_type": "dpmsolver++",
    "use_karras_sigmas": True,
}
"""A base that is configured for another sampler, as many fine-tuned ones are."""


def card(scheduler: Any, steps: int, timesteps: list[int] | None = None, **settings: Any) -> Any:
    """Do what a model card does: another class from the pipeline's config, and the call's steps."""
    own = diffusers.EulerDiscreteScheduler.from_config(SDXL)
    made = scheduler.from_config(own.config, **settings)
    made.set_timesteps(**({"timesteps": timesteps} if timesteps else {"num_inference_steps": steps}))
    return made


CARDS: dict[str, Callable[[], Any]] = {
    "lcm": lambda: card(diffusers.LCMScheduler, 4),
    "lightning": lambda: card(diffusers.EulerDiscreteScheduler, 4, timestep_spacing="trailing"),
    "lightning-8": lambda: card(diffusers.EulerDiscreteScheduler, 8, timestep_spacing="trailing"),
    "hyper": lambda: card(diffusers.DDIMScheduler, 4, timestep_spacing="trailing"),
    "hyper-8": lambda: card(diffusers.DDIMScheduler, 8, timestep_spacing="trailing"),
    "dmd2": lambda: card(diffusers.LCMScheduler, 4, timesteps=[999, 749, 499, 249]),
}


def read(folder: Path, config: dict[str, Any], recipe: Recipe) -> Schedulers:
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    return read_schedulers(folder, recipe)


def served(schedulers: Schedulers, recipe: Recipe) -> Manifest:
    values = make_manifest().__dict__ | {
        "scheduler": schedulers.config,
        "schedulers": list(schedulers.offered),
        "defaults": make_manifest().defaults | recipe.defaults | {"scheduler": schedulers.default},
        "few_steps": recipe.facts,
    }
    return Manifest(**values)


def prepared(manifest: Manifest, steps: int | None = None) -> Any:
    name = manifest.defaults["scheduler"]
    steps = steps or manifest.defaults["num_inference_steps"]
    return prepare_scheduler(name, steps, manifest.scheduler, manifest.timesteps_of(name, steps))


@pytest.mark.parametrize("config", [SDXL, KARRAS], ids=["sdxl", "another sampler"])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_request_that_says_nothing_takes_the_publishers_steps(
    recipe: Recipe, config: dict[str, Any], tmp_path: Path
) -> None:
    manifest = served(read(tmp_path, config, recipe), recipe)
    ours, published = prepared(manifest), CARDS[recipe.kind]()
    assert ours.timesteps.tolist() == published.timesteps.tolist()
    assert type(ours) is type(published)
    assert manifest.defaults["guidance_scale"] == 1.0
    generator = [torch.Generator().manual_seed(1) for _ in "ab"]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    pairs = zip((ours, published), generator, strict=True)
    ours_last, published_last = (_followed(scheduler, noise, each) for scheduler, each in pairs)
    assert torch.equal(ours_last, published_last)


def _followed(scheduler: Any, noise: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(torch.tanh(seen + timestep / 1000), timestep, latents, generator=generator).prev_sample
    return latents


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_documented_range_of_steps_still_holds(recipe: Recipe, tmp_path: Path) -> None:
    manifest = served(read(tmp_path, SDXL, recipe), recipe)
    for steps in (4, 5, 10, 51, 100):
        assert len(prepared(manifest, steps).timesteps) == steps
    assert {"euler", "ddim", "lcm", "checkpoint"} <= set(manifest.schedulers)


def test_other_steps_or_another_scheduler_take_their_own_timesteps(tmp_path: Path) -> None:
    recipe = RECIPES["dmd2"]
    manifest = served(read(tmp_path, SDXL, recipe), recipe)
    assert manifest.timesteps_of("lcm", 4) == [999, 749, 499, 249]
    assert manifest.timesteps_of("lcm", 8) == manifest.timesteps_of("euler", 4) == []


def test_the_manifest_keeps_it(tmp_path: Path) -> None:
    manifest = served(read(tmp_path, SDXL, RECIPES["dmd2"]), RECIPES["dmd2"])
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest


def test_every_kind_can_be_fetched_and_used() -> None:
    assert RECIPES.keys() == FEW_STEPS.keys() == CARDS.keys()


def test_weights_are_what_fetch_brings_or_what_is_named(tmp_path: Path) -> None:
    recipe = RECIPES["lightning"]
    with pytest.raises(CheckpointError, match=r"sdxl_lightning_4step_lora.safetensors is missing: .*--few-steps light"):
        find_weights(recipe, None, tmp_path)
    fetched = tmp_path / "few-steps" / "lightning" / "sdxl_lightning_4step_lora.safetensors"
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert find_weights(recipe, None, tmp_path) == FewStepWeights(Lora(fetched))
    assert find_weights(recipe, "base", tmp_path) == FewStepWeights()
    assert find_weights(recipe, str(fetched), tmp_path) == FewStepWeights(Lora(fetched))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").touch()
    assert find_weights(recipe, str(tmp_path / "unet"), tmp_path) == FewStepWeights(unet=tmp_path / "unet")


def test_the_option_names_kind_and_path() -> None:
    said = ["onnx", "--checkpoint", "c", "--output", "o", "--few-steps"]
    assert _parser().parse_args([*said, "hyper-8"]).few_steps == (RECIPES["hyper-8"], None)
    assert _parser().parse_args([*said, "dmd2:a/b.safetensors"]).few_steps == (RECIPES["dmd2"], "a/b.safetensors")


def test_an_unknown_kind_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["onnx", "--checkpoint", "c", "--output", "o", "--few-steps", "turbo"])
    assert "'turbo' is none of lcm, lightning, lightning-8, hyper, hyper-8, dmd2" in capsys.readouterr().err


def test_a_unet_takes_the_place_of_the_bases(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "unet").symlink_to(tiny_checkpoint / "base" / "unet")
    checkpoint = Checkpoint.at(tiny_checkpoint, unet=tmp_path / "unet")
    export = Export(checkpoint, tmp_path / "out", few_steps=RECIPES["hyper"], refine=False)
    assert "vae_encoder" not in export.table
    assert export.schedulers.default == "ddim"
    with pytest.raises(CheckpointError, match=f"missing: {tmp_path / 'elsewhere' / 'config.json'}"):
        Checkpoint.at(tiny_checkpoint, unet=tmp_path / "elsewhere")


@pytest.fixture
def guidance_distilled(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """The folder of a UNet as LCM distils it whole: guidance is an input, here by random weights."""
    unet = diffusers.UNet2DConditionModel.from_pretrained(tiny_checkpoint / "base" / "unet")
    torch.manual_seed(0)
    distilled = diffusers.UNet2DConditionModel.from_config({**unet.config, "time_cond_proj_dim": 8})
    distilled.save_pretrained(tmp_path / "unet")
    return tmp_path / "unet"


def test_lcms_whole_unet_is_exported_as_nothing_else(
    tiny_checkpoint: Path, guidance_distilled: Path, tmp_path: Path
) -> None:
    checkpoint = Checkpoint.at(tiny_checkpoint, unet=guidance_distilled)
    for recipe in (None, RECIPES["hyper"]):
        with pytest.raises(CheckpointError, match=r"time_cond_proj_dim is 8: a UNet that LCM .*lcm:base"):
            Export(checkpoint, tmp_path / "out", few_steps=recipe)
    assert RECIPES["lcm"].max_guidance_scale == 2
    exported = Export(checkpoint, tmp_path / "out", few_steps=RECIPES["lcm"]).few_steps
    assert exported is not None
    assert exported.max_guidance_scale == 1


@torch.no_grad()
def test_guidance_as_an_input_becomes_part_of_the_weights(guidance_distilled: Path) -> None:
    unet = diffusers.UNet2DConditionModel.from_pretrained(guidance_distilled)
    given = {
        "sample": torch.randn(1, 4, 16, 16),
        "timestep": torch.tensor([501.0]),
        "encoder_hidden_states": torch.randn(1, 7, unet.config.cross_attention_dim),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(
                1, unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
            ),
            "time_ids": torch.tensor([[128.0, 128, 0, 0, 128, 128]]),
        },
    }
    # What diffusers' pipeline does with the model card's guidance_scale=8.0.
    embedding = diffusers.StableDiffusionXLPipeline.get_guidance_scale_embedding(None, torch.tensor([8.0 - 1]), 8)
    expected, without = unet(**given, timestep_cond=embedding).sample, unet(**given).sample
    fuse_guidance(unet)
    torch.testing.assert_close(unet(**given).sample, expected, rtol=1e-4, atol=1e-5)
    assert (expected - without).abs().max() > 1e-2


def test_a_lora_is_fetched_where_export_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published, content = FEW_STEPS["dmd2"], 2000 * b"LoRA"
    pinned = {name: hashlib.sha256(content).hexdigest() for name in published.sha256}
    monkeypatch.setitem(FEW_STEPS, "dmd2", type(published)(**published.__dict__ | {"sha256": pinned}))
    hub = StandIn({published.repo: {published.revision: dict.fromkeys(published.needs, content)}})
    with serving(hub) as running:
        asked = ["--only", "few-steps", "--few-steps", "dmd2", "--endpoint", running.url, "--yes"]
        assert main(["fetch", "--output", str(tmp_path), *asked]) == 0
    weights = find_weights(RECIPES["dmd2"], None, tmp_path)
    assert weights.lora is not None
    assert weights.lora.file.read_bytes() == content
    assert "NON-COMMERCIAL USE ONLY" in capsys.readouterr().out


def test_hashes_are_pinned() -> None:
    digests = list(itertools.chain.from_iterable(source.sha256.values() for source in FEW_STEPS.values()))
    assert len(set(digests)) == len(RECIPES)
    assert all(len(digest) == 64 for digest in digests)
