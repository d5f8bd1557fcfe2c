"""Which depth checkpoints are taken, and whether their larger values are nearer or farther."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    GLPNConfig,
    GLPNForDepthEstimation,
    PreTrainedModel,
)

from export.depth import DepthInput, depth_input, is_distance
from export.engines import Engine
from export.errors import CheckpointError
from export.networks.depth_estimator import DepthEstimator
from export.onnx_export import export_onnx
from export.parity import check_module
from export.precision import Precision
from export.tensors import ROWS, Axis, Tensor

FOLDER = Path("depth")
DPT = {"architectures": ["DPTForDepthEstimation"], "model_type": "dpt"}
ANYTHING = {"architectures": ["DepthAnythingForDepthEstimation"], "model_type": "depth_anything"}
DINOV2 = {"model_type": "dinov2", "patch_size": 14}
PUBLISHED = {
    "LiheYoung/depth-anything-small-hf": (ANYTHING | {"backbone_config": DINOV2}, False),
    "depth-anything/Depth-Anything-V2-Small-hf": (ANYTHING | {"depth_estimation_type": "relative"}, False),
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf": (
        ANYTHING | {"depth_estimation_type": "metric", "max_depth": 20},
        True,
    ),
    "Intel/dpt-large": (DPT | {"is_hybrid": False, "backbone_config": None}, False),
    "Intel/dpt-hybrid-midas": (DPT | {"is_hybrid": True, "backbone_config": {"model_type": "bit"}}, False),
    "Intel/dpt-beit-large-512": (DPT | {"backbone_config": {"model_type": "beit"}}, False),
    "Intel/dpt-swinv2-tiny-256": (DPT | {"backbone_config": {"model_type": "swinv2"}}, False),
    "facebook/dpt-dinov2-small-nyu": (DPT | {"add_projection": True, "backbone_config": DINOV2}, True),
    "vinvino02/glpn-nyu": ({"architectures": ["GLPNForDepthEstimation"], "model_type": "glpn"}, True),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_published_configs_tell_what_larger_means(name):
    config, expected = PUBLISHED[name]
    assert is_distance(FOLDER, config) is expected


def test_a_config_may_say_it_itself():
    unknown = DPT | {"backbone_config": {"model_type": "convnext"}}
    with pytest.raises(
        CheckpointError, match=r"depth/config.json: .*'convnext' backbone; add \"depth_estimation_type\""
    ):
        is_distance(FOLDER, unknown)
    assert is_distance(FOLDER, unknown | {"depth_estimation_type": "metric"})
    assert is_distance(FOLDER, DPT | {"depth_estimation_type": "metric"})
    assert not is_distance(FOLDER, DPT | {"backbone_config": DINOV2, "depth_estimation_type": "relative"})
    with pytest.raises(CheckpointError, match="'inverse', not 'relative' or 'metric'"):
        is_distance(FOLDER, DPT | {"depth_estimation_type": "inverse"})


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"architectures": ["ZoeDepthForDepthEstimation"], "model_type": "zoedepth"}, "ZoeDepthForDepthEstimation"),
        ({"architectures": ["DepthProForDepthEstimation"], "model_type": "depth_pro"}, "DepthProForDepthEstimation"),
        ({"model_type": "prompt_depth_anything"}, "model_type 'prompt_depth_anything'"),
        (DPT | {"architectures": ["DPTForSemanticSegmentation"]}, "DPTForSemanticSegmentation"),
        ({}, "model_type None"),
    ],
)
def test_other_families_are_refused_by_name(config, name):
    with pytest.raises(CheckpointError, match=rf"depth/config.json: {name} is not a supported depth estimator; .*GLPN"):
        is_distance(FOLDER, config)


def processor(folder: Path, **config: object) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_a_processor_that_keeps_the_picture_s_size_is_followed(tmp_path):
    glpn = processor(
        tmp_path, feature_extractor_type="GLPNFeatureExtractor", do_rescale=True, do_resize=True, size_divisor=32
    )
    assert depth_input(glpn, {"model_type": "glpn"}) == DepthInput(32, None)


def test_a_padding_processor_is_followed(tmp_path):
    padding = {"do_resize": False, "do_rescale": False, "do_pad": True, "size_divisor": 14}
    nyu = processor(tmp_path, image_processor_type="DPTImageProcessor", **padding)
    assert depth_input(nyu, {"backbone_config": DINOV2}) == DepthInput(14, None)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"image_processor_type": "DPTImageProcessor", "keep_aspect_ratio": True}, "multiples of 16"),
        ({"image_processor_type": "DPTImageProcessor", "size": {"height": 250, "width": 250}}, "makes 250×250"),
        ({"image_processor_type": "NoSuchImageProcessor"}, "is no image processor of transformers"),
        ({}, "is no image processor of transformers"),
    ],
)
def test_a_processor_that_does_not_fit_is_refused(tmp_path, config, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        depth_input(processor(tmp_path, **config), {"patch_size": 16})
    assert str(tmp_path / "preprocessor_config.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def glpn() -> PreTrainedModel:
    config = GLPNConfig(
        hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8
    )
    return GLPNForDepthEstimation(config)


def dpt_of_dinov2() -> PreTrainedModel:
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=70, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], apply_layernorm=False, reshape_hidden_states=False,
    )  # fmt: skip
    config = DPTConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 8, 8, 8], use_bias_in_fusion_residual=False, add_projection=True
    )
    return DPTForDepthEstimation(config)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("build", "multiple"), [(glpn, 32), (dpt_of_dinov2, 14)])
def test_a_metric_network_is_exported_for_any_size(tmp_path, build, multiple):
    torch.manual_seed(0)
    plane = (Axis("depth_height", multiple), Axis("depth_width", multiple))
    engine = Engine(
        "depth_estimator",
        (Tensor("pixel_values", (ROWS, 3, *plane)),),
        (Tensor("predicted_depth", (ROWS, *plane)),),
        sizes=({"rows": 2, "depth_height": 5, "depth_width": 7}, {"rows": 1, "depth_height": 6, "depth_width": 4}),
    )
    module = DepthEstimator(build()).eval()
    export_onnx(module, engine, tmp_path / "model.onnx", Precision.FP32)
    assert all(row.passed for row in check_module(module, engine, tmp_path / "model.onnx", Precision.FP32))
