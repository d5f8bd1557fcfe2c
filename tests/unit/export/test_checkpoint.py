import json
import shutil

import pytest
import torch

from export.checkpoint import Checkpoint, load_ip_adapter
from export.depth import DepthInput
from export.errors import CheckpointError
from export.facts import read_facts


@pytest.fixture
def copy(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


def test_a_missing_part_is_named(copy):
    shutil.rmtree(copy / "base" / "vae")
    with pytest.raises(CheckpointError, match=r"base/vae/config\.json"):
        Checkpoint.at(copy)


def test_a_part_can_lie_elsewhere(copy, tmp_path):
    moved = shutil.move(copy / "depth", tmp_path / "elsewhere")
    assert Checkpoint.at(copy, depth=moved).depth == moved


def test_a_pickle_that_runs_code_is_refused(copy):
    class Hostile:
        def __reduce__(self):
            return (eval, ("1 / 0",))

    torch.save({"image_proj": Hostile(), "ip_adapter": {}}, copy / "instantid" / "ip-adapter.bin")
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_ip_adapter(Checkpoint.at(copy))


@pytest.mark.parametrize("name", ["instantid/ip-adapter.bin", "antelopev2/glintr100.onnx"])
def test_a_file_that_git_lfs_did_not_fetch_is_named(copy, name):
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match=rf"{name}.*Git LFS"):
        read_facts(Checkpoint.at(copy))


def test_adapters_in_the_format_before_zip_files_are_read(copy):
    checkpoint = Checkpoint.at(copy)
    content = load_ip_adapter(checkpoint)
    torch.save(content, copy / "legacy.bin", _use_new_zipfile_serialization=False)
    (copy / "legacy.bin").replace(checkpoint.ip_adapter)
    latents = load_ip_adapter(checkpoint)["image_proj"]["latents"]
    assert torch.equal(latents, content["image_proj"]["latents"])


def test_prompts_are_as_long_as_the_tokenizers_say(copy):
    config = copy / "base" / "tokenizer_2" / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"model_max_length": 77', '"model_max_length": 48'))
    assert read_facts(Checkpoint.at(copy)).token_count == 48


@pytest.mark.parametrize(("processor", "expected"), [
    ({"keep_aspect_ratio": True, "ensure_multiple_of": 32}, DepthInput(32, None)),
    ({"keep_aspect_ratio": False, "ensure_multiple_of": 32}, DepthInput(32, (96, 96))),
])  # fmt: skip
def test_the_depth_estimators_input_is_what_its_processor_makes(copy, processor, expected):
    path = copy / "depth" / "preprocessor_config.json"
    size = {"size": {"height": 96, "width": 96}, "image_processor_type": "DPTImageProcessor"}
    path.write_text(json.dumps(size | processor))
    assert read_facts(Checkpoint.at(copy)).depth_input == expected


def test_depth_processors_are_found_under_their_old_names(copy):
    path = copy / "depth" / "preprocessor_config.json"
    path.write_text('{"feature_extractor_type": "DPTFeatureExtractor", "size": 384}')
    assert read_facts(Checkpoint.at(copy)).depth_input == DepthInput(16, (384, 384))


def test_facts_come_from_the_configs(tiny_checkpoint):
    facts = read_facts(Checkpoint.at(tiny_checkpoint))
    assert facts.min_side == 128
    assert facts.cross_attention_width == 128
    assert [r.level for r in facts.residuals] == [0, 0, 1, 1, 2, 2]
    assert facts.text_readers == ("identitynet", "controlnet_depth")
