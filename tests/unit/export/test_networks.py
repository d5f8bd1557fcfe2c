import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from export.checkpoint import Checkpoint, load_ip_adapter
from export.engines import ROW_OF, engine_table, sample_inputs
from export.facts import read_facts
from export.networks import region
from export.networks.depth_estimator import DepthEstimator
from export.precision import Precision
from tests.conftest import write_tiny_checkpoint
from tests.reference.resampler import resample

pytestmark = pytest.mark.slow

SIZES = {"rows": 2, "height": 2, "width": 2, "crop": 2, "tokens": 77}


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return Checkpoint.at(tiny_checkpoint)


@pytest.fixture(scope="module")
def run(checkpoint):
    facts = read_facts(checkpoint)
    table = engine_table(facts)
    modules = {}

    def call(name, **changes):
        module = modules.setdefault(name, ROW_OF[name].module(checkpoint, facts, Precision.FP32))
        inputs = sample_inputs(table[name], SIZES, np.dtype(np.float32)) | changes
        with torch.no_grad():
            outputs = module(*(torch.as_tensor(value) for value in inputs.values()))
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return call


def test_the_projector_is_the_published_resampler(checkpoint, run):
    embedding = np.random.default_rng(1).standard_normal((2, 512)).astype(np.float32)
    (tokens,) = run("identity_projector", face_emb=embedding)
    expected = resample(load_ip_adapter(checkpoint)["image_proj"], torch.from_numpy(embedding))
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-4)


def test_no_face_token_reaches_the_unet_at_scale_zero_or_outside_the_mask(run):
    scale, mask = np.zeros((2, 1), np.float32), np.zeros((2, 1, 128, 128), np.float32)
    other = np.ones((2, 16, 128), np.float32)
    (off,) = run("unet", ip_adapter_scale=scale)
    (off_other,) = run("unet", ip_adapter_scale=scale, prompt_image_emb=other)
    (outside,) = run("unet", region_mask=mask, prompt_image_emb=other)
    (on,) = run("unet", prompt_image_emb=other)
    assert torch.equal(off, off_other)
    torch.testing.assert_close(off, outside, atol=1e-6, rtol=1e-5)
    assert (on - off).abs().max() > 1e-3


def test_rows_have_scales_of_their_own(run):
    scale = np.array([[0.0], [1.0]], np.float32)
    (mixed,) = run("unet", ip_adapter_scale=scale)
    (zero,) = run("unet", ip_adapter_scale=np.zeros((2, 1), np.float32))
    (one,) = run("unet", ip_adapter_scale=np.ones((2, 1), np.float32))
    torch.testing.assert_close(mixed, torch.cat([zero[:1], one[1:]]), atol=1e-6, rtol=1e-5)


def test_identitynet_is_silent_outside_the_mask(run):
    mask = np.zeros((2, 1, 128, 128), np.float32)
    mask[:, :, :64] = 1
    for residual in run("identitynet", region_mask=mask):
        half = residual.shape[2] // 2
        assert residual[:, :, half:].abs().max() == 0
        assert residual[:, :, :half].abs().max() > 0


def test_masks_are_interpolated_as_instantid_does():
    mask = torch.rand(1, 1, 64, 128)
    size = (8, 16)
    nearest = torch.nn.functional.interpolate(mask, size, mode="nearest")
    bilinear = torch.nn.functional.interpolate(mask, size, mode="bilinear")
    assert torch.equal(region.nearest(mask, 8), nearest)
    assert torch.equal(region.bilinear(mask, 8), bilinear)


def without_transformers(folder):
    """The other way to have no cross-attention: a middle block of that kind without a single layer."""
    config = json.loads((folder / "config.json").read_text())
    down = len(config["down_block_types"])
    changes = {"mid_block_type": "UNetMidBlock2DCrossAttn", "transformer_layers_per_block": [0] * down}
    net = ControlNetModel(**{k: v for k, v in config.items() if not k.startswith("_")} | changes)
    shutil.rmtree(folder)
    net.save_pretrained(folder)


@pytest.mark.parametrize("has_middle_of_attention_kind", [False, True])
def test_the_small_depth_net_takes_no_text(tmp_path, has_middle_of_attention_kind):
    folder = write_tiny_checkpoint(tmp_path / "small", depth_controlnet="small")
    if has_middle_of_attention_kind:
        without_transformers(folder / "controlnet-depth")
    small = Checkpoint.at(folder)
    facts = read_facts(small)
    engine = engine_table(facts)["controlnet_depth"]
    assert "encoder_hidden_states" not in {tensor.name for tensor in engine.inputs}
    module = ROW_OF["controlnet_depth"].module(small, facts, Precision.FP32)
    inputs = sample_inputs(engine, SIZES, np.dtype(np.float32))
    with torch.no_grad():
        residuals = module(*map(torch.from_numpy, inputs.values()))
    shapes = [tensor.shape(SIZES) for tensor in engine.outputs]
    assert [tuple(residual.shape) for residual in residuals] == shapes


def test_the_decoder_rounds_as_diffusers_does(checkpoint, run):
    from diffusers import AutoencoderKL
    from diffusers.image_processor import VaeImageProcessor

    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    vae = AutoencoderKL.from_pretrained(checkpoint.base / "vae")
    with torch.no_grad():
        decoded = vae.decode(latents / vae.config.scaling_factor).sample
    (expected,) = VaeImageProcessor().postprocess(decoded, output_type="pil")
    (image,) = run("vae_decoder", latents=latents.numpy())
    assert np.abs(image[0].numpy().astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_the_encoders_latents_are_diffusers(checkpoint, run):
    from diffusers import AutoencoderKL
    from diffusers.image_processor import VaeImageProcessor
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    vae = AutoencoderKL.from_pretrained(checkpoint.base / "vae")
    with torch.no_grad():
        latents = vae.encode(VaeImageProcessor().preprocess(Image.fromarray(image))).latent_dist
    mean, std = run("vae_encoder", image=image[None])
    for ours, published in ((mean, latents.mean), (std, latents.std)):
        torch.testing.assert_close(ours, published * vae.config.scaling_factor, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["identitynet", "unet"])
def test_what_onnx_concatenates_is_of_one_type(checkpoint, name):
    module = ROW_OF[name].module(checkpoint, read_facts(checkpoint), Precision.FP16)
    (embed,) = (part for path, part in module.named_modules() if path.endswith("add_time_proj"))
    assert embed(torch.ones(6)).dtype == torch.float16


def test_depth_anything_is_exported_for_any_size():
    backbone = Dinov2Config(
        hidden_size=12, num_hidden_layers=4, num_attention_heads=1, image_size=28, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=12, neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4, head_hidden_size=4,
    )  # fmt: skip
    model = DepthAnythingForDepthEstimation(config).eval()
    pixels = torch.rand(1, 3, 42, 56)
    with torch.no_grad():
        expected = model(pixels).predicted_depth
        estimator = DepthEstimator(model)
        height, width = torch.export.Dim("height", max=9), torch.export.Dim("width", max=9)
        exported = torch.export.export(
            estimator, (torch.rand(1, 3, 56, 70),), dynamic_shapes=({2: 14 * height, 3: 14 * width},), strict=False
        )
        torch.testing.assert_close(exported.module()(pixels), expected)
