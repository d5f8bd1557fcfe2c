"""The orchestrator shares its steps: the benchmark's own measurement, on the tests' server."""

from pathlib import Path

from insta_depth import InstaDepth

from benchmarks.batching import Load, measure_served
from benchmarks.options import Options
from deploy.local import LocalTriton


def test_requests_that_start_apart_share_every_step(
    server: LocalTriton, client: InstaDepth, miniature_repository: Path, miniature_checkpoint: Path
) -> None:
    options = Options(miniature_repository, miniature_checkpoint / "pictures", miniature_repository)
    load = Load([{"seed": seed, "guidance_scale": 3, "num_inference_steps": 20} for seed in range(8)])
    measured = measure_served(server.metrics_url, client, options, load)
    assert measured["rows_share"] >= 0.85
    assert measured["rows_per_call"] > 2
