"""The orchestrator shares its steps where that pays: the benchmark's own measurement."""

from pathlib import Path

from benchmarks import batching
from benchmarks.batching import Load
from benchmarks.options import Options


def test_requests_that_start_apart_share_every_step_that_costs_the_same_for_all(
    miniature_repository: Path, miniature_checkpoint: Path
) -> None:
    options = Options(miniature_repository, miniature_checkpoint / "pictures", miniature_repository)
    load = Load([{"seed": seed, "guidance_scale": 3, "num_inference_steps": 40} for seed in range(8)])
    measured = batching.measure(options, load)
    assert measured["rows_share"] >= 0.85
    assert measured["rows_per_call"] > 2
