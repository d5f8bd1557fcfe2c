import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.checkpoint import Checkpoint
from export.engines import engine_table, sample_inputs
from export.facts import read_facts
from export.repository import SOURCE
from export.triton_configs import complete_config, ensemble_inputs


@pytest.fixture(scope="module")
def table(tiny_checkpoint):
    return engine_table(read_facts(Checkpoint.at(tiny_checkpoint)))


def test_every_engine_of_the_design_is_in_the_table(table):
    policies = {path.parent.name for path in SOURCE.glob("*/config.pbtxt") if not (path.parent / "1").exists()}
    assert set(table) == policies - {"denoise_step"}


def test_every_tensor_has_rank_two_or_more(table):
    tensors = [t for engine in table.values() for t in (*engine.inputs, *engine.outputs)]
    assert min(len(tensor.dims) for tensor in tensors) >= 2


def test_all_engines_of_a_step_take_as_many_rows():
    names = ("identitynet", "controlnet_depth", "unet", "denoise_step")
    assert len({_policy(name).max_batch_size for name in names}) == 1


def test_every_engine_names_its_instance_count(table):
    assert all(_policy(name).instance_group[0].count >= 1 for name in table)


def _policy(name):
    return text_format.Parse((SOURCE / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_samples_have_the_sizes_asked_for(table):
    sizes = {"rows": 3, "height": 2, "width": 1, "tokens": 77}
    inputs = sample_inputs(table["unet"], sizes, np.dtype(np.float16))
    assert inputs["sample"].shape == (3, 4, 16, 8)
    assert inputs["sample"].dtype == np.float16
    assert inputs["timestep"].dtype == np.float32


def test_the_ensemble_takes_what_its_engines_do_not_make_themselves(table):
    assert set(ensemble_inputs(table)) == {
        "sample", "timestep", "encoder_hidden_states", "prompt_image_emb", "face_keypoints", "depth", "region_mask",
        "text_embeds", "time_ids", "identitynet_scale", "depth_scale", "ip_adapter_scale",
    }  # fmt: skip


def test_every_wire_of_the_ensemble_has_two_ends(table):
    text = complete_config(SOURCE / "denoise_step" / "config.pbtxt", table, np.dtype(np.float32))
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    made = {tensor.name for tensor in config.input}
    for step in config.ensemble_scheduling.step:
        assert set(step.input_map.values()) <= made
        assert set(step.input_map) == {tensor.name for tensor in table[step.model_name].inputs}
        made |= set(step.output_map.values())
    assert {tensor.name for tensor in config.output} <= made
