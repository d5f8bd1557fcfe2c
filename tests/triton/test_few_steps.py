"""Checkpoints for few steps: pictures against the published recipes on the same weights, and Triton's answers."""

import io
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from insta_depth import Generation, InstaDepth, InvalidInput, Progress
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from deploy.local.server import ON_FREE_PORTS, LocalTriton
from export.__main__ import main
from export.in_process import generate, make_pipeline
from tests.psnr import psnr_db
from tests.reference.pipeline import ReferencePipeline
from tests.reference.scheduler import SDXL
from tests.triton.conditions import conditions_of
from tests.triton.semantics import CLOTHES, DEPTH, IDENTITY, POSE, Observer

pytestmark = [pytest.mark.slow, pytest.mark.long]
PROMPT = "photo of a woman in a red dress"
LCM_LAYERS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj"),
)
"""The layers that the published LCM-LoRA has matrices for (its script's ``target_modules``)."""
DMD2_TIMESTEPS = [999, 749, 499, 249]


def published_scheduler(kind: str, config: object) -> object:
    """Return what the model cards make of a pipeline's ``config``."""
    if kind == "lightning":
        return diffusers.EulerDiscreteScheduler.from_config(config, timestep_spacing="trailing")
    if kind == "hyper":
        return diffusers.DDIMScheduler.from_config(config, timestep_spacing="trailing")
    return diffusers.LCMScheduler.from_config(config)


@pytest.fixture(scope="module")
def lora(miniature_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random matrices for every layer that the published LCM-LoRA changes, in its format."""
    unet = diffusers.UNet2DConditionModel.from_pretrained(miniature_checkpoint / "base" / "unet")
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, module in unet.named_modules():
        if name.endswith(LCM_LAYERS) and isinstance(module, nn.Linear | nn.Conv2d):
            shape, key = module.weight.shape, f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = 0.05 * torch.randn(2, *shape[1:], generator=generator)
            tensors[f"{key}.lora_up.weight"] = 0.05 * torch.randn(
                shape[0], 2, *(1 for _ in shape[2:]), generator=generator
            )
            tensors[f"{key}.alpha"] = torch.tensor(1.0)
    path = tmp_path_factory.mktemp("lora") / "random.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def reference(miniature_checkpoint: Path, lora: Path, tmp_path_factory: pytest.TempPathFactory) -> ReferencePipeline:
    """The published pipeline with the LoRA fused by diffusers."""
    folder = tmp_path_factory.mktemp("fused")
    for part in miniature_checkpoint.iterdir():
        if part.name != "base":
            (folder / part.name).symlink_to(part)
    pipeline = StableDiffusionXLPipeline.from_pretrained(miniature_checkpoint / "base", torch_dtype=torch.float32)
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(folder / "base")
    return ReferencePipeline(folder)


@pytest.fixture(scope="module")
def guidance_distilled(miniature_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with a UNet as LCM distils it whole: guidance is an input, here by random weights."""
    folder = tmp_path_factory.mktemp("lcm")
    shutil.copytree(miniature_checkpoint, folder, dirs_exist_ok=True)
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "base" / "unet")
    torch.manual_seed(0)
    distilled = diffusers.UNet2DConditionModel.from_config({**unet.config, "time_cond_proj_dim": 32})
    added = distilled.load_state_dict(unet.state_dict(), strict=False).missing_keys
    assert added == ["time_embedding.cond_proj.weight"]
    distilled.save_pretrained(folder / "base" / "unet")
    return folder


@pytest.fixture(scope="module")
def export(miniature_checkpoint: Path, lora: Path, tmp_path_factory: pytest.TempPathFactory):
    """Export the miniature as a checkpoint of one kind; only the first one takes the time of its engines."""
    folder = tmp_path_factory.mktemp("few") / "miniature"

    def run(kind: str, weights: Path | None = lora) -> Path:
        said = ["--checkpoint", str(miniature_checkpoint), "--output", str(folder), "--max-side", "192"]
        few_steps = f"{kind}:{weights}" if weights else kind
        assert main(["onnx", *said, "--no-verify", "--no-refine", "--few-steps", few_steps]) == 0
        return folder

    return run


@pytest.mark.parametrize("kind", ["lcm", "lightning", "hyper", "dmd2"])
def test_the_picture_is_that_of_the_published_recipe(kind, export, reference, server, miniature_repository, face, pose):
    pipeline = make_pipeline(export(kind))
    request = {"prompt": PROMPT, "face_image": face, "pose_image": pose, "seed": 7, "output_format": "png"}
    made = generate(pipeline, {**request, "enhance_face_region": False})
    seen = conditions_of(server.grpc_url, miniature_repository, face, pose, region=False)
    reference.scheduler = published_scheduler(kind, diffusers.EulerDiscreteScheduler.from_config(SDXL).config)
    timesteps = DMD2_TIMESTEPS if kind == "dmd2" else None
    expected = reference(seen, PROMPT, steps=4, guidance=1.0, seed=7, timesteps=timesteps)
    assert psnr_db(np.asarray(Image.open(io.BytesIO(made.image))), expected) >= 50
    assert made.warnings == ()


def test_lcms_whole_unet_has_the_published_guidance_built_in(
    export, guidance_distilled, server, miniature_repository, face, pose
):
    pipeline = make_pipeline(export("lcm", guidance_distilled / "base" / "unet"))
    request = {"prompt": PROMPT, "face_image": face, "pose_image": pose, "seed": 7, "output_format": "png"}
    made = generate(pipeline, {**request, "enhance_face_region": False})
    seen = conditions_of(server.grpc_url, miniature_repository, face, pose, region=False)
    reference = ReferencePipeline(guidance_distilled)
    reference.scheduler = published_scheduler("lcm", diffusers.EulerDiscreteScheduler.from_config(SDXL).config)
    expected, other = (reference(seen, PROMPT, steps=4, guidance=guidance, seed=7) for guidance in (8.0, 2.0))
    assert psnr_db(np.asarray(Image.open(io.BytesIO(made.image))), expected) >= 50
    assert psnr_db(expected, other) < 45
    assert made.warnings == ()
    warned = generate(pipeline, {**request, "guidance_scale": 2.0})
    assert warned.warnings == ("guidance_scale: 2; the checkpoint (lcm) is made for 1",)


def test_triton_takes_the_checkpoints_steps_and_warns_of_others(export, face, pose):
    with LocalTriton(export("lightning"), ON_FREE_PORTS) as running, InstaDepth(running.grpc_url) as client:
        assert client.capabilities().defaults["num_inference_steps"] == 4
        request = {"prompt": PROMPT, "face_image": face, "pose_image": pose, "seed": 7}
        *steps, made = client.stream(**request)
        assert isinstance(made, Generation)
        assert made.warnings == ()
        assert [step.num_inference_steps for step in steps if isinstance(step, Progress)] == [4] * 4
        warned = client.generate(**request, num_inference_steps=10, guidance_scale=3.0)
        assert warned.warnings == (
            "num_inference_steps: 10; the checkpoint (lightning) is made for 4",
            "guidance_scale: 3; the checkpoint (lightning) is made for 1",
        )
        with pytest.raises(InvalidInput, match="refine_face: 'auto' needs the engine vae_encoder"):
            client.generate(**request, refine_face="auto")


def test_the_committed_lora_makes_in_four_steps_what_is_asked_for(export):
    repository = export("lcm", weights=None)
    with LocalTriton(repository, ON_FREE_PORTS) as running:
        observer = Observer(running.grpc_url, repository)
        seen = observer()
        observer.close()
    for control in (IDENTITY, POSE, DEPTH, CLOTHES):
        assert control.of(seen) >= control.least, control.measure
