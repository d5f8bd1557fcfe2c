import shutil

import pytest
import torch

from export.checkpoint import Checkpoint, load_ip_adapter
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
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported"):
        load_ip_adapter(Checkpoint.at(copy))


def test_facts_come_from_the_configs(tiny_checkpoint):
    facts = read_facts(Checkpoint.at(tiny_checkpoint))
    assert facts.min_side == 128
    assert facts.cross_attention_width == 96
    assert [r.level for r in facts.residuals] == [0, 0, 1, 1, 2, 2]
    assert facts.depth_net_reads_text


def test_a_controlnet_of_another_unet_is_refused(copy):
    config = copy / "controlnet-depth" / "config.json"
    config.write_text(config.read_text().replace('"layers_per_block": 1', '"layers_per_block": 2'))
    with pytest.raises(CheckpointError, match="ControlNet-Depth makes 9 residuals"):
        read_facts(Checkpoint.at(copy))
