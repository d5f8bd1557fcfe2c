"""What becomes of a repository when its plans are built; the builder itself, which needs a GPU, is replaced."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.depth import DepthInput
from export.engines import Engine, engine_table
from export.onnx_signature import check_signature
from export.plans import repository as plans_repository
from export.plans import tensorrt_module
from export.plans.config import plan_config, read_config
from export.plans.machine import BuildMachine
from export.plans.memory import PlanMemory
from export.plans.repository import PlanRepository
from export.plans.tensorrt_module import TensorRTMissing
from export.shapes import ShapeRanges, Size
from insta_depth_shared.manifest import Manifest
from tests.unit.plans.conftest import make_plans


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the engines for which a plan was written, instead of built."""
    names: list[str] = []

    def build(
        engine: Engine, onnx: Path, plan: Path, io_dtype: np.dtype, profiles: Sequence[ShapeRanges], *_: Any
    ) -> PlanMemory:
        check_signature(engine, onnx, io_dtype)
        names.append(engine.name)
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_bytes(b"a plan of " + engine.name.encode())
        return PlanMemory(weights=1, activations=1)

    monkeypatch.setattr(plans_repository, "build_plan", build)
    return names


def run(plans: PlanRepository) -> dict[str, str]:
    said: dict[str, str] = {}
    plans.run(lambda name, state: said.update({name: state}))
    return said


def test_the_plans_repository_is_complete_and_has_no_onnx(plans: PlanRepository, built: list[str]) -> None:
    run(plans)
    assert built == list(plans.table)
    assert {p.parent.name for p in plans.output.glob("*/config.pbtxt")} == {
        p.parent.name for p in plans.repository.glob("*/config.pbtxt")
    }
    assert not list(plans.output.rglob("*.onnx*"))
    recorded = json.loads((plans.output / "insta_depth_stream" / "1" / "plans.json").read_text())
    assert recorded.keys() == plans.table.keys()
    assert recorded["unet"]["gpu"] == "NVIDIA H100 80GB HBM3"
    assert recorded["unet"]["precision"] == "fp32"


def test_what_is_up_to_date_is_not_built_again(plans: PlanRepository, built: list[str]) -> None:
    run(plans)
    built.clear()
    assert set(run(plans).values()) == {"up to date", "wired"}
    assert built == []


@pytest.mark.parametrize("change", ["TensorRT", "GPU", "batch", "plan"])
def test_what_changed_is_built_again(plans: PlanRepository, built: list[str], change: str) -> None:
    run(plans)
    built.clear()
    match change:
        case "TensorRT":
            plans.machine = BuildMachine("11.4.0", plans.machine.gpu, "9.0")
        case "GPU":
            plans.machine = BuildMachine(plans.machine.tensorrt, "NVIDIA L40S", "8.9")
        case "batch":
            plans.batch = (1, 2, 8)
        case "plan":
            (plans.output / "unet" / "1" / "model.plan").write_bytes(b"half a pl")
    run(plans)
    expected = {"batch": ["identitynet", "controlnet_depth", "unet"], "plan": ["unet"]}
    assert built == expected.get(change, list(plans.table))


def test_the_batch_is_told_to_the_server_and_to_the_orchestrator(
    miniature_repository: Path, tmp_path: Path, built: list[str]
) -> None:
    plans = make_plans(miniature_repository, tmp_path, batch=(1, 2, 6))
    run(plans)
    for name in ("unet", "identitynet", "controlnet_depth", "denoise_step"):
        assert read_config(tmp_path / name / "config.pbtxt").max_batch_size == 6
    assert read_config(tmp_path / "text_encoder" / "config.pbtxt").max_batch_size == 16
    assert Manifest.load(tmp_path / "insta_depth_stream" / "1").max_rows == 6


def test_the_optimum_is_tuned_for_warmed_up_and_captured(
    miniature_repository: Path, tmp_path: Path, built: list[str]
) -> None:
    plans = make_plans(miniature_repository, tmp_path, optimum=Size(128, 192))
    run(plans)
    unet, text, detector, vae = (
        read_config(tmp_path / n / "config.pbtxt") for n in ("unet", "text_encoder", "face_detector", "vae_decoder")
    )
    assert not unet.instance_group[0].profile, "one profile"
    assert [graph.batch_size for graph in unet.optimization.cuda.graph_spec] == [1, 2]
    assert list(unet.optimization.cuda.graph_spec[1].input["sample"].dim) == [4, 16, 24]
    assert list(unet.model_warmup[0].inputs["sample"].dims) == [4, 16, 24]
    assert list(vae.model_warmup[0].inputs["latents"].dims) == [4, 16, 24]
    assert [graph.batch_size for graph in text.optimization.cuda.graph_spec] == [1, 2], "it has one size"
    assert not detector.optimization.cuda.graphs, "its input's side varies"


def test_without_an_optimum_no_size_is_captured(plans: PlanRepository, built: list[str]) -> None:
    run(plans)
    assert not read_config(plans.output / "unet" / "config.pbtxt").optimization.cuda.graphs


@pytest.mark.parametrize("busy", [False, True])
def test_waiting_in_a_loop_is_for_the_step_alone(plans: PlanRepository, built: list[str], busy: bool) -> None:
    run(dataclasses.replace(plans, busy_wait_events=busy))
    waits = {
        name
        for name in plans.table
        if read_config(plans.output / name / "config.pbtxt").optimization.cuda.busy_wait_events
    }
    assert waits == ({"identitynet", "controlnet_depth", "unet"} if busy else set())


def test_a_plan_s_configuration_is_complete(plans: PlanRepository, built: list[str]) -> None:
    """So the server need not load it to ask."""
    run(plans)
    for name, engine in plans.table.items():
        config = read_config(plans.output / name / "config.pbtxt")
        assert (config.name, config.backend) == (name, "tensorrt")
        assert [tensor.name for tensor in config.input] == [tensor.name for tensor in engine.inputs]
        assert [tensor.name for tensor in config.output] == [tensor.name for tensor in engine.outputs]


def test_each_context_has_room_for_its_own_profile(plans: PlanRepository) -> None:
    policy = read_config(plans.repository / "depth_estimator" / "config.pbtxt")
    engine = engine_table(dataclasses.replace(plans.facts, depth_input=DepthInput(14, None)))["depth_estimator"]
    upright = {"rows": (1, 1, 1), "depth_height": (37, 49, 185), "depth_width": (37, 37, 37)}
    wide = {"rows": (1, 1, 1), "depth_height": (37, 37, 37), "depth_width": (37, 49, 185)}
    one, two = (
        text_format.Parse(plan_config(policy, engine, profiles), ModelConfig())
        for profiles in ([wide], [upright, wide])
    )
    assert list(two.instance_group[0].profile) == ["0", "1"]
    assert two.parameters["execution_context_allocation_strategy"].string_value == "ON_PROFILE_CHANGE"
    assert "execution_context_allocation_strategy" not in one.parameters


@pytest.mark.parametrize("name", ["vae_decoder", "depth_estimator"])
def test_what_runs_once_a_picture_has_one_row(plans: PlanRepository, name: str) -> None:
    assert all(ranges["rows"] == (1, 1, 1) for ranges in plans.profiles(name))


@pytest.mark.skipif(not tensorrt_module.is_missing(), reason="TensorRT and a GPU are here")
def test_without_tensorrt_one_sentence_says_what_to_do() -> None:
    with pytest.raises(TensorRTMissing, match=r"TensorRT is not installed here|no CUDA GPU is to be seen here"):
        BuildMachine.here()
