"""Turning a repository of ONNX engines into one of TensorRT plans."""

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from insta_depth_shared.manifest import Manifest
from insta_depth_shared.plans import PlanRecord, save_plans

from ..depth import load_processor
from ..engines import engine_table, step_engine_names
from ..errors import ExportError
from ..facts import load_facts
from ..in_process import manifest as load_manifest
from ..precision import Precision
from ..repository import FACTS, VERSION, exported_precision
from ..shapes import USUAL_ROWS, ProfileMaker, Range, ShapeRanges, Size
from ..triton_configs import NAME as ENSEMBLE
from . import record
from .build import Builder, OnProgress, build_plan
from .config import batch_config, plan_config, read_config
from .machine import BuildMachine
from .memory import EngineMemory, Memory, PlanMemory, buffer_bytes, estimate, pool_bytes, usable_bytes

ONNX, PLAN = "model.onnx", "model.plan"
ORCHESTRATOR = "insta_depth_stream"

Report = Callable[[str, str], None]
"""Called with an engine's name and its status."""


@dataclass
class PlanRepository:
    """One run of ``python -m export tensorrt``.

    ``repository``: what ``python -m export onnx`` wrote. ``output``: the plans' repository; the same one by
    default. ``batch``: rows of the denoising step's engines; None: 1, 2 and the maximum of their configuration.
    """

    repository: Path
    output: Path
    machine: BuildMachine
    builder: Builder = field(default_factory=Builder)
    batch: Range | None = None
    optimum: Size | None = None
    """The size of the pictures that plans are tuned for, and captured as CUDA graphs; None: the most usual one."""
    only: frozenset[str] = frozenset()
    busy_wait_events: bool = False
    """Triton's setting of the same name, of the denoising step's engines."""
    gpu_memory_gb: float | None = None
    """Of the GPU that is to serve: limits the rows of a step; None: nothing does."""

    def __post_init__(self) -> None:
        self.facts = load_facts(self.repository / FACTS)
        self.table = engine_table(self.facts)
        unknown = self.only - set(self.table)
        if unknown:
            raise ExportError(f"--only: unknown {sorted(unknown)}; the engines are {sorted(self.table)}")
        self._memory: dict[str, PlanMemory] = {}
        if self.gpu_memory_gb is not None:
            self.batch = self._batch_for(self.gpu_memory_gb)

    @cached_property
    def manifest(self) -> Manifest:
        """The repository's manifest."""
        return load_manifest(self.repository)

    @property
    def _io_dtype(self) -> np.dtype:
        return np.dtype(self.manifest.numpy_dtype)

    @cached_property
    def _profile_maker(self) -> ProfileMaker:
        folder = self.repository / ORCHESTRATOR / VERSION / "depth_processor"
        processor = load_processor(folder / "preprocessor_config.json")
        return ProfileMaker(self.facts, self.manifest.image, processor, self.manifest.text.max_windows, self.optimum)

    def profiles(self, name: str) -> list[ShapeRanges]:
        """Return the profiles of engine ``name``."""
        return self._profile_maker.profiles(self.table[name], self._rows(name))

    def run(self, report: Report, on_progress: OnProgress | None = None) -> None:
        """Build every plan that is out of date, then update the other models."""
        for name in self._chosen():
            self._plan(name, report, on_progress)
        if not self.only:
            self._assemble()
            report(ENSEMBLE, "wired")

    def rehearse(self, report: Report, on_progress: OnProgress | None = None) -> None:
        """Build every plan and keep none: shows that the builder takes the engines and their profiles."""
        for name in self._chosen():
            report(name, "rehearsing")
            onnx, profiles = self._onnx(name), self.profiles(name)
            plan = self.builder.build(self.table[name], onnx, self._io_dtype, profiles, on_progress)
            self._memory[name] = plan.memory
            report(name, f"taken: {len(plan.content) / 2**20:.1f} MiB")

    def memory(self) -> Memory | None:
        """Return what serving takes on the GPU; None as long as an engine's plan has told nothing of it."""
        if self._memory.keys() != self.table.keys():
            return None
        return self._sum(self._memory, {name: self.profiles(name) for name in self.table})

    def _sum(self, plans: Mapping[str, PlanMemory], profiles: Mapping[str, list[ShapeRanges]]) -> Memory:
        engines = [
            EngineMemory(name, plans[name], buffer_bytes(engine, profiles[name], self._io_dtype))
            for name, engine in self.table.items()
        ]
        step = {name: self.table[name] for name in step_engine_names()}
        (largest,) = profiles["unet"]
        return Memory(tuple(engines), pool_bytes(step, largest, self._io_dtype))

    def _batch_for(self, gpu_gb: float) -> Range:
        """Return the most rows of a step that fit, by estimate; raises `ExportError` where a guided pair does not."""
        wanted = self._rows("unet")[2]
        for rows in range(wanted, 1, -1):
            needed = self._estimate(rows).total
            if needed <= usable_bytes(gpu_gb):
                break
            if self.batch or rows == USUAL_ROWS:
                raise ExportError(
                    f"--gpu-memory: {rows} rows of a step need about {needed / 2**30:.1f} GiB, "
                    f"a GPU of {gpu_gb:g} GB has {usable_bytes(gpu_gb) / 2**30:.1f}"
                )
        return self.batch or (1, USUAL_ROWS, rows)

    def _estimate(self, rows: int) -> Memory:
        batch = (1, USUAL_ROWS, rows)
        profiles = {
            name: self._profile_maker.profiles(engine, batch if name in step_engine_names() else self._rows(name))
            for name, engine in self.table.items()
        }
        plans = {}
        for name in self.table:
            weights = self._weights(name)
            is_fp32 = exported_precision(self.repository, name) is Precision.FP32
            plans[name] = PlanMemory(weights, estimate(name, profiles[name], is_fp32))
        return self._sum(plans, profiles)

    def _weights(self, name: str) -> int:
        """The bytes of an engine's ONNX files; 0 where it was not exported, with ``--only``."""
        path = self.repository / name / VERSION / ONNX
        return sum(file.stat().st_size for file in record.onnx_files(path)) if path.exists() else 0

    def _chosen(self) -> Iterable[str]:
        return [name for name in self.table if not self.only or name in self.only]

    def _onnx(self, name: str) -> Path:
        path = self.repository / name / VERSION / ONNX
        if not path.exists():
            raise ExportError(f"{path} is missing: python -m export onnx writes it")
        return path

    def _rows(self, name: str) -> Range:
        largest = read_config(self.repository / name / "config.pbtxt").max_batch_size or self._fixed_rows(name)
        if self.batch and name in step_engine_names():
            return self.batch
        return 1, min(USUAL_ROWS, largest), largest

    def _fixed_rows(self, name: str) -> int:
        """The fixed batch of an engine that Triton does not batch."""
        return self.facts.recognizer_rows or 1

    def _plan(self, name: str, report: Report, on_progress: OnProgress | None) -> None:
        folder, profiles, onnx = self.output / name, self.profiles(name), self._onnx(name)
        precision = exported_precision(self.repository, name).value
        wanted = self.machine.record(name, precision, profiles, record.digest(*record.onnx_files(onnx)))
        plan = folder / VERSION / PLAN
        told = PlanMemory.load(folder)
        is_kept = plan.exists() and record.load(folder) == dataclasses.replace(wanted, plan=record.digest(plan))
        if told and is_kept:
            report(name, "up to date")
        else:
            report(name, "building")
            told = build_plan(self.table[name], onnx, plan, self._io_dtype, profiles, self.builder, on_progress)
            told.save(folder)
            record.save(dataclasses.replace(wanted, plan=record.digest(plan)), folder)
        self._memory[name] = told
        policy = read_config(self.repository / name / "config.pbtxt")
        is_of_step = name in step_engine_names()
        has_graphs, busy = is_of_step and self.optimum is not None, is_of_step and self.busy_wait_events
        config = plan_config(policy, self.table[name], profiles, has_graphs, busy)
        (folder / "config.pbtxt").write_text(config, encoding="utf-8")

    def _assemble(self) -> None:
        """Copy the models without an engine, and write the records of the plans for them."""
        if self.output != self.repository:
            for folder in sorted(self.repository.iterdir()):
                if folder.is_dir() and folder.name not in self.table:
                    shutil.copytree(folder, self.output / folder.name, dirs_exist_ok=True)
            shutil.copy(self.repository / FACTS, self.output / FACTS)
        rows = min(self._rows(name)[2] for name in step_engine_names())
        ensemble = self.output / ENSEMBLE / "config.pbtxt"
        ensemble.write_text(batch_config(ensemble, rows), encoding="utf-8")
        manifest = dataclasses.replace(self.manifest, max_rows=rows)
        for path in self.output.glob(f"*/{VERSION}/manifest.json"):
            manifest.save(path.parent)
        save_plans(self.output / ORCHESTRATOR / VERSION, self._records())

    def _records(self) -> dict[str, PlanRecord]:
        found = {name: record.load(self.output / name) for name in self.table}
        return {name: plan for name, plan in found.items() if plan is not None}
