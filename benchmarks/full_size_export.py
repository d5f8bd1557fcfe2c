"""What exporting SDXL's largest networks costs on this machine: time, peak memory, size on disk.

Each network is exported by ``python -m export`` in a process of its own, as a user would; then TensorRT-RTX, which
builds without a GPU, takes it with the profile of full-size pictures, again in a process of its own.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from export.commands.tensorrt import REHEARSED_FOR

from .sdxl_checkpoint import write_sdxl_checkpoint

_NETWORKS = ("unet", "identitynet")
_SIDES, _ROWS = (1024, 1280), (1, 2, 8)


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
        [sys.executable, "-c", script, *command, *paths],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    seconds = time.monotonic() - started
    files = list((repository / name / "1").iterdir())
    return {
        "network": name,
        "seconds": seconds,
        "peak_gib": int(result.stdout) / 2**20,
        "written_gb": sum(file.stat().st_size for file in files) / 1e9,
        "files": ", ".join(sorted(file.name for file in files)),
        **_rehearse(name, checkpoint, repository),
    }


def _rehearse(name: str, checkpoint: Path, repository: Path) -> dict[str, float | str]:
    """A rehearsal that fails (20 GiB are a lot) is told in the table, beside the export that did not."""
    command = [sys.executable, "-m", "benchmarks.full_size_export", "rehearse", name, str(checkpoint), str(repository)]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if result.returncode:
        said = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        return {"rehearsal_failed": said[-1]}
    return json.loads(result.stdout.splitlines()[-1])


def rehearse(name: str, checkpoint: Path, repository: Path) -> dict[str, float]:
    """Let TensorRT-RTX build the exported network; return seconds, this process' peak GiB and the plan's GB."""
    from export.plans.tensorrt_module import use_tensorrt_rtx

    use_tensorrt_rtx()
    from transformers import AutoImageProcessor

    from export.checkpoint import Checkpoint
    from export.engines import engine_table
    from export.facts import read_facts
    from export.plans.build import Builder
    from export.precision import Precision
    from export.shapes import ProfileMaker
    from insta_depth_shared.manifest import ImageFacts

    parts = Checkpoint.at(checkpoint)
    facts = read_facts(parts)
    processor = AutoImageProcessor.from_pretrained(parts.depth, backend="pil")
    engine = engine_table(facts)[name]
    profiles = ProfileMaker(facts, ImageFacts(*_SIDES), processor).profiles(engine, _ROWS)
    started = time.monotonic()
    builder = Builder(compute_capabilities=(REHEARSED_FOR,))
    plan = builder.build(engine, repository / name / "1" / "model.onnx", Precision.FP16.io_dtype, profiles)
    return {
        "rehearsal_seconds": time.monotonic() - started,
        "rehearsal_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "plan_gb": len(plan.content) / 1e9,
    }


def report(records: list[dict[str, float | str]]) -> Table:
    """Return the records as a table."""
    columns = ("network", "export", "peak", "written", "files", "TensorRT-RTX", "peak", "plan")
    table = Table(*columns, title="SDXL, fp16, random weights")
    for r in records:
        table.add_row(
            str(r["network"]),
            f"{r['seconds']:.0f} s",
            f"{r['peak_gib']:.1f} GiB",
            f"{r['written_gb']:.1f} GB",
            str(r["files"]),
            *_rehearsal_cells(r),
        )
    return table


def _rehearsal_cells(record: dict[str, float | str]) -> tuple[str, str, str]:
    if "rehearsal_failed" in record:
        return f"failed: {record['rehearsal_failed']}", "", ""
    return (
        f"{record['rehearsal_seconds']:.0f} s",
        f"{record['rehearsal_peak_gib']:.1f} GiB",
        f"{record['plan_gb']:.1f} GB",
    )


def main(arguments: list[str]) -> int:
    """``DONOR``; or ``write CHECKPOINT DONOR`` or ``rehearse NETWORK CHECKPOINT REPOSITORY``, steps of their own."""
    if arguments[0] == "write":
        write_sdxl_checkpoint(Path(arguments[1]), Path(arguments[2]))
        return 0
    if arguments[0] == "rehearse":
        sys.stdout.write(json.dumps(rehearse(arguments[1], Path(arguments[2]), Path(arguments[3]))) + "\n")
        return 0
    records = measure(Path(arguments[0]))
    Console().print(report(records))
    Console(stderr=True).print(json.dumps(records))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
