"""A repository of ONNX engines to build plans from."""

from pathlib import Path

import pytest

from export.plans.build import Builder
from export.plans.machine import BuildMachine
from export.plans.repository import PlanRepository

H100 = BuildMachine("10.13.2.6", "NVIDIA H100 80GB HBM3", "9.0")


@pytest.fixture
def plans(miniature_repository: Path, tmp_path: Path) -> PlanRepository:
    """What turns the miniature into a repository of plans in ``tmp_path``."""
    return make_plans(miniature_repository, tmp_path / "plans")


def make_plans(repository: Path, output: Path, **changes: object) -> PlanRepository:
    return PlanRepository(repository, output, H100, Builder(), **changes)  # type: ignore[arg-type]
