"""A plan of another TensorRT or another GPU is refused with a sentence, not with TensorRT's serialisation error."""

import dataclasses
import logging
from pathlib import Path

import pytest

from insta_depth_shared.plans import Machine, PlanMismatch, PlanRecord, check_plans, save_plans

H100 = "NVIDIA H100 80GB HBM3"
RECORD = PlanRecord("unet", "10.13.2.6", H100, "9.0", "fp16", [{"rows": [1, 2, 16]}], "source", "plan")
HERE = Machine("10.13.2", H100, "9.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_plans(tmp_path, {"unet": RECORD, "vae_decoder": dataclasses.replace(RECORD, engine="vae_decoder")})
    return tmp_path


def test_plans_of_this_machine_are_taken(folder: Path) -> None:
    check_plans(folder, HERE)


def test_a_repository_without_plans_has_nothing_to_check(tmp_path: Path) -> None:
    check_plans(tmp_path, HERE)


def test_every_difference_is_named(folder: Path) -> None:
    with pytest.raises(PlanMismatch) as caught:
        check_plans(folder, Machine("10.14.1", "NVIDIA L40S", "8.9"))
    said = str(caught.value)
    assert "unet's plan was built by TensorRT 10.13.2.6, here is 10.14.1" in said
    assert "vae_decoder's plan was built for NVIDIA H100 80GB HBM3 (compute capability 9.0)" in said
    assert "here is NVIDIA L40S (8.9)" in said
    assert "python -m export tensorrt" in said


def test_a_sister_of_the_gpu_is_taken_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_plans(folder, dataclasses.replace(HERE, gpu="NVIDIA H200"))
    assert "unet's plan was tuned on NVIDIA H100 80GB HBM3 and runs on NVIDIA H200" in caplog.text


def test_an_unknown_version_is_said_and_not_held_against_the_plans(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_plans(folder, dataclasses.replace(HERE, tensorrt=None))
    assert "plans are not checked against it" in caplog.text
