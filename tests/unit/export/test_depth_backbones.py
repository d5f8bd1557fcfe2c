"""DPT with every published backbone: depth as transformers' own pipeline makes it, or a refusal by name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    BeitConfig,
    BitConfig,
    DepthEstimationPipeline,
    DPTConfig,
    DPTForDepthEstimation,
    PreTrainedConfig,
    SwinConfig,
    Swinv2Config,
)
from transformers.modeling_outputs import DepthEstimatorOutput

from export.checkpoint import Checkpoint
from export.checks.configs import check_depth
from export.checks.keys import check_keys
from export.engines import ROW_OF, engine_table
from export.errors import CheckpointError
from export.facts import read_facts
from export.onnx_export import export_onnx
from export.parity import open_session, relative_error
from export.precision import Precision
from export.tensors import Axis

SIDE = 96
KEEPING_PROPORTIONS = {"keep_aspect_ratio": True, "ensure_multiple_of": 32}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
EVERY_LAYER = [0, 1, 2, 3]


def vit() -> DPTConfig:
    return DPTConfig(**SMALL, **NECK, image_size=SIDE, backbone_out_indices=EVERY_LAYER)


def beit() -> DPTConfig:
    backbone = BeitConfig(
        **SMALL, image_size=SIDE, use_relative_position_bias=True, reshape_hidden_states=False, out_features=STAGES
    )
    return DPTConfig(**NECK, backbone_config=backbone)


def swin(kind: type[PreTrainedConfig]) -> DPTConfig:
    backbone = kind(
        embed_dim=8, depths=[2, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, image_size=SIDE, out_features=STAGES
    )
    return DPTConfig(backbone_config=backbone, neck_hidden_sizes=[8, 16, 32, 64], fusion_hidden_size=8)


def swin_v1() -> DPTConfig:
    return swin(SwinConfig)


def swin_v2() -> DPTConfig:
    return swin(Swinv2Config)


def hybrid() -> DPTConfig:
    backbone = BitConfig(
        global_padding="same", embedding_dynamic_padding=True, layer_type="bottleneck", embedding_size=8, num_groups=4,
        depths=[1, 1, 1], hidden_sizes=[8, 16, 32], out_features=STAGES[:3],
    )  # fmt: skip
    return DPTConfig(
        **SMALL, is_hybrid=True, backbone_config=backbone, image_size=SIDE, backbone_out_indices=EVERY_LAYER,
        neck_hidden_sizes=[8, 16, 8, 8], fusion_hidden_size=8, reassemble_factors=[1, 1, 1, 0.5],
        backbone_featmap_shape=[1, 32, SIDE // 16, SIDE // 16],
    )  # fmt: skip


Build = Callable[[], DPTConfig]


def checkpoint_with(depth: Path, miniature: Path, build: Build, **processor: object) -> Checkpoint:
    """Write a random network of ``build``'s configuration in the published layout, as a checkpoint's depth."""
    torch.manual_seed(0)
    network = DPTForDepthEstimation(build())
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    last = network.head.head[4]
    torch.nn.init.uniform_(last.weight)  # with the bias above 0, where the last ReLU cuts nothing off
    torch.nn.init.ones_(last.bias)
    network.save_pretrained(depth)
    settings = {"image_processor_type": "DPTImageProcessor", "size": {"height": SIDE, "width": SIDE}} | processor
    (depth / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return Checkpoint.at(miniature, depth=depth)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "processor"), [(vit, {}), (hybrid, {}), (beit, KEEPING_PROPORTIONS), (swin_v2, KEEPING_PROPORTIONS)]
)
def test_the_engine_s_depth_is_the_published_pipeline_s(
    miniature_checkpoint: Path, tmp_path: Path, build: Build, processor: dict
) -> None:
    checkpoint = checkpoint_with(tmp_path / "depth", miniature_checkpoint, build, **processor)
    check_depth(checkpoint)
    check_keys(checkpoint, ("depth_estimator",))
    facts = read_facts(checkpoint)
    engine = engine_table(facts)["depth_estimator"]
    assert isinstance(engine.inputs[0].dims[2], Axis if processor else int)
    module = ROW_OF["depth_estimator"].module(checkpoint, facts, Precision.FP32)
    export_onnx(module, engine, tmp_path / "model.onnx", Precision.FP32)
    session = open_session(tmp_path / "model.onnx")
    published = AutoImageProcessor.from_pretrained(checkpoint.depth, backend="pil")
    pipeline = DepthEstimationPipeline(
        DPTForDepthEstimation.from_pretrained(checkpoint.depth).eval(), image_processor=published
    )
    for height, width in ((128, 96), (90, 180)):
        picture = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        expected = pipeline(Image.fromarray(picture))["predicted_depth"].numpy()
        pixels = published(images=picture, return_tensors="np")["pixel_values"]
        depth = DepthEstimatorOutput(predicted_depth=torch.from_numpy(session.run(None, {"pixel_values": pixels})[0]))
        (found,) = published.post_process_depth_estimation(depth, [(height, width)])
        assert np.ptp(expected) > 0
        assert relative_error(found["predicted_depth"].numpy(), expected) < 1e-4


NEEDED = rf'{SIDE}×{SIDE} is needed: "size": {SIDE} and "keep_aspect_ratio": false'
REFUSED: list[tuple[Build, dict, str]] = [
    (vit, KEEPING_PROPORTIONS, rf"makes 96×128 of a picture, which the network of .*/config.json .*{NEEDED}"),
    (hybrid, KEEPING_PROPORTIONS, rf"makes 96×128 .*Input image size \(96\*128\) doesn't match .*{NEEDED}"),
    (hybrid, {"size": {"height": 128, "width": 128}}, rf"makes 128×128 of a picture, .*{NEEDED}"),
    (swin_v2, {"keep_aspect_ratio": True, "ensure_multiple_of": 16}, "the network needs multiples of 32"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "processor", "message"), REFUSED)
def test_a_size_that_the_network_does_not_take_is_refused(
    miniature_checkpoint: Path, tmp_path: Path, build: Build, processor: dict, message: str
) -> None:
    checkpoint = checkpoint_with(tmp_path / "depth", miniature_checkpoint, build, **processor)
    with pytest.raises(CheckpointError, match=message) as caught:
        check_depth(checkpoint)
    sentence = str(caught.value)
    assert str(tmp_path / "depth" / "preprocessor_config.json") in sentence
    assert "\n" not in sentence


def test_a_backbone_that_transformers_dpt_cannot_read_is_refused(miniature_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_with(tmp_path / "depth", miniature_checkpoint, swin_v1)
    path = tmp_path / "depth" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"depth_estimation_type": "relative"}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"does not take .*; supported are .*Swin V2"):
        check_depth(checkpoint)
