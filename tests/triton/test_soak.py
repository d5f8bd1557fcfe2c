"""The soak, in a short form: what is killed and runs out costs no credit, and gives no answer but a right one."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.records import load

FAULTS = (
    "insta_depth_stream killed",
    "Triton restarted",
    "gateway killed",
    "database away",
    "disk full",
    "shared memory full",
)


def _errors(log: Path) -> str:
    """Return the last lines of the gateway's log about errors that no fault explains."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return "\n".join([line for line in lines if '"ERROR"' in line and "SERVER_UNAVAILABLE" not in line][-20:])


@pytest.mark.long
def test_killed_processes_and_full_disks_cost_no_credit(
    miniature_repository: Path, miniature_checkpoint: Path, tmp_path: Path
) -> None:
    where = ["--repository", str(miniature_repository), "--pictures", str(miniature_checkpoint / "pictures")]
    how = ["--minutes", "0.4", "--output", str(tmp_path), "--faults", *FAULTS]
    done = subprocess.run([sys.executable, "-m", "benchmarks.soak", *where, *how], capture_output=True, text=True)
    assert "Report and records are in" in done.stdout, done.stderr
    *faults, _, end = load(tmp_path / "records.jsonl")
    assert len(faults) == len(FAULTS)
    assert not [record.error for record in faults if record.error and not record.error.startswith("not here: /dev/shm")]
    assert all(float(record.measured.get("next_picture_s", 0)) < 120 for record in faults)
    assert {name: end.measured[name] for name in ("credits_missing", "credits_held", "mistakes_accepted")} == {
        "credits_missing": 0,
        "credits_held": 0,
        "mistakes_accepted": 0,
    }
    assert end.measured["other_failures"] == "", _errors(tmp_path / "gateway.log")
    assert next(record for record in faults if record.row == "shared memory full").measured.get("unavailable", 1) > 0
    assert float(end.measured["pictures"]) > 20
