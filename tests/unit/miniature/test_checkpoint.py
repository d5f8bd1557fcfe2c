import json

import numpy as np
import onnxruntime as ort
import torch
from transformers import AutoModelForDepthEstimation, CLIPTokenizer

from export.networks.identity_projector import IdentityProjector
from miniature.architecture import CheckpointConfig
from miniature.instantid import random_projector


def test_the_published_layouts_are_complete(tiny_checkpoint):
    files = {str(path.relative_to(tiny_checkpoint)) for path in tiny_checkpoint.rglob("*") if path.is_file()}
    assert {
        "base/unet/config.json",
        "base/vae/config.json",
        "base/text_encoder/config.json",
        "base/text_encoder_2/config.json",
        "base/tokenizer/merges.txt",
        "base/tokenizer_2/vocab.json",
        "base/scheduler/scheduler_config.json",
        "instantid/ip-adapter.bin",
        "instantid/ControlNetModel/config.json",
        "controlnet-depth/config.json",
        "depth/preprocessor_config.json",
        "antelopev2/scrfd_10g_bnkps.onnx",
        "antelopev2/glintr100.onnx",
        "pictures/face.png",
        "pictures/pose.png",
    } <= files


def test_face_models_have_numeric_names_and_no_batch_in_the_detectors_outputs(tiny_checkpoint):
    session = ort.InferenceSession(tiny_checkpoint / "antelopev2" / "scrfd_10g_bnkps.onnx")
    names = [tensor.name for tensor in session.get_outputs()]
    assert len(names) == 9
    assert all(name.isdigit() for name in names)
    outputs = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, 160, 160), np.float32)})
    assert [array.shape[-1] for array in outputs] == [1, 1, 1, 4, 4, 4, 10, 10, 10]
    assert all(array.ndim == 2 for array in outputs)


def test_the_second_tokenizer_pads_with_an_exclamation_mark(tiny_checkpoint):
    first, second = (CLIPTokenizer.from_pretrained(tiny_checkpoint / "base" / n) for n in ("tokenizer", "tokenizer_2"))
    assert (first.pad_token, second.pad_token) == ("<|endoftext|>", "!")
    assert second("a", padding="max_length", max_length=77).input_ids[-1] == 0


def test_depth_maps_vary_with_the_picture(tiny_checkpoint):
    network = AutoModelForDepthEstimation.from_pretrained(tiny_checkpoint / "depth")
    side = json.loads((tiny_checkpoint / "depth" / "config.json").read_text())["image_size"]
    pictures = torch.nn.functional.interpolate(torch.rand(2, 3, 5, 5), (side, side))
    with torch.no_grad():
        first, second = network(pictures).predicted_depth
    assert first.std() > 0.05 * first.mean()
    assert (first - second).abs().mean() > 0.01


def test_an_untrained_projector_tells_faces_apart():
    projector = IdentityProjector(random_projector(CheckpointConfig()))
    with torch.no_grad():
        tokens = projector(torch.randn(64, 512))
    assert tokens.var(0).mean() > 0.5 * tokens.square().mean()
