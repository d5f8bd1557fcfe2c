"""What exporting SDXL's largest networks costs on this machine: time, peak memory, size on disk.

Each network is exported by ``python -m export`` in a process of its own, as a user would.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .sdxl_checkpoint import write_sdxl_checkpoint

_NETWORKS = ("unet", "identitynet")


def measure(donor: Path, work: Path | None = None) -> list[dict[str, float | str]]:
    """Return one record a network: seconds, peak GiB of the exporting process, GB written.

    Needs about 20 GB of disk in ``work`` (default: a temporary folder), which is empty again afterwards.
    """
    with tempfile.TemporaryDirectory(dir=work) as folder:
        checkpoint = Path(folder) / "checkpoint"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.full_size_export", "write", str(checkpoint), str(donor)],
            check=True,
        )
        return [_measure_one(name, checkpoint, Path(folder) / "repository") for name in _NETWORKS]


def _measure_one(name: str, checkpoint: Path, repository: Path) -> dict[str, float | str]:
    command = [sys.executable, "-m", "export", "onnx", "--precision", "fp16", "--no-verify", "--only", name]
    started = time.monotonic()
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    paths = ["--checkpoint", str(checkpoint), "--output", str(repository)]
    result = subprocess.run(
        [sys.executable, "-c", script, *command, *paths], check=True, stdout=subprocess.PIPE, text=True
    )
    files = list((repository / name / "1").iterdir())
    return {
        "network": name,
        "seconds": time.monotonic() - started,
        "peak_gib": int(result.stdout) / 2**20,
        "written_gb": sum(file.stat().st_size for file in files) / 1e9,
        "files": ", ".join(sorted(file.name for file in files)),
    }


def report(records: list[dict[str, float | str]]) -> Table:
    """Return the records as a table."""
    table = Table("network", "time", "peak memory", "written", "files", title="SDXL, fp16, random weights")
    for r in records:
        table.add_row(
            str(r["network"]),
            f"{r['seconds']:.0f} s",
            f"{r['peak_gib']:.1f} GiB",
            f"{r['written_gb']:.1f} GB",
            str(r["files"]),
        )
    return table


def main(arguments: list[str]) -> int:
    """``write CHECKPOINT DONOR`` (a step of its own, so that its memory is not counted) or ``DONOR``."""
    if arguments[0] == "write":
        write_sdxl_checkpoint(Path(arguments[1]), Path(arguments[2]))
        return 0
    records = measure(Path(arguments[0]))
    Console().print(report(records))
    Console(stderr=True).print(json.dumps(records))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
