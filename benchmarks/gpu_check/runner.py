"""Every variant in a fresh process, a record of each, and what only several rows together say."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..records import Measured, Record, load, record_of
from .options import Options
from .variants import LIMIT, VARIANTS, needs_preparation

BENCHMARK = "gpu-check"
ABSENT = "not here: "
_TIMEOUT_S = 580.0
_PREPARATION_TIMEOUT_S = 3600.0
"""For the export of a UNet and the building of plans, which are kept: no part of a row's own time."""
Rows = dict[str, Measured]
"""What each measured row found, by its name."""


def run(name: str, options: Options, conditions: Mapping[str, Any], known: Rows) -> Record:
    """Measure row ``name`` in a child; what it says together with the rows ``known`` already is added."""

    def measure() -> tuple[Measured, str]:
        if needs_preparation(name):
            _, error = _in_child("--prepare", name, options, _PREPARATION_TIMEOUT_S)
            if error:
                return {}, error
        measured, error = _in_child("--row", name, options, _TIMEOUT_S)
        if measured and name != LIMIT:
            work = VARIANTS[name].work
            measured |= derived(name, measured, known, work(options) if work else None)
        return measured, error

    return record_of(BENCHMARK, name, measure, conditions)


def _in_child(task: str, name: str, options: Options, timeout_s: float) -> tuple[Measured, str]:
    """What the child measured, or one line of why not."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", __package__, *options.arguments(), task, name, "--result", str(result)]
        try:
            child = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, encoding="utf-8")
        except subprocess.TimeoutExpired:
            return {}, f"not done after {timeout_s:g} s"
        if result.exists():
            told = json.loads(result.read_text(encoding="utf-8"))
            return told.get("measured", {}), told.get("error", "")
    said = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    return {}, said[-1] if said else f"exit status {child.returncode}"


def derived(name: str, measured: Measured, known: Rows, tflop: float | None) -> Measured:
    """Rates and ratios of a row; those whose other half was not measured are left out."""
    variant, rows = VARIANTS[name], {**known, name: measured}
    step_ms, made = float(measured["step_ms"]), Measured()
    if tflop is not None:
        tflops = made["tflops"] = 1e3 * tflop / step_ms
        limit = known.get(LIMIT, {})
        for ratio, whole in (("chip_share", "chip_tflops"), ("matmul_share", "matmul_tflops")):
            if whole in limit:
                made[ratio] = tflops / float(limit[whole])
    if baseline := rows.get(variant.baseline):
        made["eager_ratio"] = step_ms / float(baseline["step_ms"])
    if in_process := rows.get(variant.in_process):
        made["triton_ms"] = step_ms - float(in_process["step_ms"])
    return made


def earlier(path: Path, conditions: Mapping[str, Any]) -> Rows:
    """What earlier runs found of the same networks on the same device, so that variants can be measured in parts."""
    if not path.exists():
        return {}
    same = [r for r in load(path) if r.benchmark == BENCHMARK and r.conditions.get("step") == conditions["step"]]
    return {record.row: record.measured for record in same if record.measured}
