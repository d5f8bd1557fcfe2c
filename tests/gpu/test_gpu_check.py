"""The GPU check's smallest network, every variant that this machine has; skipped where there is no GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

ROOT = Path(__file__).parents[2]


def test_every_row_that_is_here_gives_the_same_answer(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--size", "tiny", "--repeats", "5"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    differences = {r["row"]: r["measured"]["difference"] for r in records if "difference" in r["measured"]}
    assert "eager" in differences
    assert all(difference < 2e-2 for difference in differences.values()), differences
