"""Turning a repository of ONNX engines into one of TensorRT plans."""

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoImageProcessor

from insta_depth_shared.manifest import Manifest
from insta_depth_shared.plans import PlanRecord, save_plans

from ..engines import engine_table, step_engine_names
from ..errors import ExportError
from ..facts import load_facts
from ..in_process import Arrays
from ..precision import Precision, Precisions
from ..repository import FACTS, VERSION, exported_precision
from ..shapes import USUAL_ROWS, ProfileMaker, Range, ShapeRanges, Size
from ..triton_configs import NAME as ENSEMBLE
from . import record
from .build import Builder, OnProgress, build_plan
from .calibration import Case, read_cases, record_inputs
from .config import batch_config, plan_config, read_config
from .machine import BuildMachine
from .quantization import quantize_fp8

ONNX, PLAN = "model.onnx", "model.plan"
ORCHESTRATOR = "insta_depth_stream"

Report = Callable[[str, str], None]
"""Called with an engine's name and what happens to it."""


@dataclass
class PlanRepository:
    """One run of ``python -m export tensorrt``.

    ``repository``: what ``python -m export onnx`` wrote. ``output``: where the plans' repository goes; the same one
    by default. ``batch``: rows of the engines of the denoising step; None: 1, 2 and what their configuration says.
    """

    repository: Path
    output: Path
    machine: BuildMachine
    builder: Builder = field(default_factory=Builder)
    batch: Range | None = None
    sizes: tuple[Size, ...] = ()
    only: frozenset[str] = frozenset()
    precisions: Precisions | None = None
    calibration: Path | None = None
    """Faces, poses and prompts that fp8 engines are calibrated on; see `read_cases`."""
    calibration_pictures: int = 16

    def __post_init__(self) -> None:
        self.facts = load_facts(self.repository / FACTS)
        self.table = engine_table(self.facts)
        unknown = self.only - set(self.table)
        if unknown:
            raise ExportError(f"--only: unknown {sorted(unknown)}; the engines are {sorted(self.table)}")
        self._check_precisions()

    @cached_property
    def manifest(self) -> Manifest:
        """The repository's facts of its checkpoint."""
        return Manifest.load(self.repository / ORCHESTRATOR / VERSION)

    @cached_property
    def _profile_maker(self) -> ProfileMaker:
        folder = self.repository / ORCHESTRATOR / VERSION / "depth_processor"
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        return ProfileMaker(self.facts, self.manifest.image, processor, self.manifest.text.max_windows)

    def profiles(self, name: str) -> list[ShapeRanges]:
        """Return the profiles of engine ``name``."""
        return self._profile_maker.profiles(self.table[name], self._rows(name), self.sizes)

    def run(self, report: Report, on_progress: OnProgress | None = None) -> None:
        """Build every plan that is out of date, then let the models around them know."""
        for name in self._chosen():
            self._plan(name, report, on_progress)
        if not self.only:
            self._assemble()
            report(ENSEMBLE, "wired")

    def rehearse(self, report: Report, on_progress: OnProgress | None = None) -> None:
        """Build every plan and keep none: shows that the builder takes the engines and their profiles."""
        for name in self._chosen():
            with self._to_build(name, report) as onnx:
                report(name, "rehearsing")
                content = self.builder.build(self.table[name], onnx, self.profiles(name), on_progress)
            report(name, f"taken: {len(content) / 2**20:.1f} MiB")

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
        """Triton does not batch an engine whose batch its file fixes, or leaves to the caller."""
        return self.facts.recognizer_rows or 1

    def _check_precisions(self) -> None:
        """A strongly typed plan has its ONNX engine's types."""
        if self.precisions is None:
            return
        exported = {"most engines": self.manifest.precision} | {
            name: exported_precision(self.repository, name).value for name in self.table
        }
        asked = {"most engines": self.precisions.most} | dict(self.precisions.others)
        for name, precision in asked.items():
            if name not in exported:
                raise ExportError(f"--precision: unknown engine {name}; the engines are {sorted(self.table)}")
            if precision is Precision.FP8 and name in step_engine_names() and exported[name] == "fp16":
                continue
            if precision.value != exported[name]:
                raise ExportError(
                    f"--precision: {name} can't become {precision.value}: it was exported in {exported[name]}, which a "
                    f"strongly typed plan keeps; `python -m export onnx --precision …` changes it "
                    f"(fp8 is for {', '.join(step_engine_names())} exported in fp16)"
                )

    def _plan(self, name: str, report: Report, on_progress: OnProgress | None) -> None:
        folder, profiles = self.output / name, self.profiles(name)
        source = record.digest(*self._sources(name))
        wanted = self.machine.record(name, self._precision(name).value, profiles, source)
        plan = folder / VERSION / PLAN
        if plan.exists() and record.load(folder) == dataclasses.replace(wanted, plan=record.digest(plan)):
            report(name, "up to date")
        else:
            with self._to_build(name, report) as onnx:
                report(name, "building")
                build_plan(self.table[name], onnx, plan, profiles, self.builder, on_progress)
            record.save(dataclasses.replace(wanted, plan=record.digest(plan)), folder)
        policy = read_config(self.repository / name / "config.pbtxt")
        (folder / "config.pbtxt").write_text(plan_config(policy, self.table[name], profiles), encoding="utf-8")

    def _precision(self, name: str) -> Precision:
        """As exported, or fp8 where that is asked for."""
        asked = self.precisions.of(name) if self.precisions else None
        return Precision.FP8 if asked is Precision.FP8 else exported_precision(self.repository, name)

    def _sources(self, name: str) -> list[Path]:
        """Every file that a plan is made from."""
        files = record.onnx_files(self._onnx(name))
        if self._precision(name) is Precision.FP8:
            files += [path for case in self._cases for path in (case.face, case.pose)]
            files.append(self._calibration_folder / "prompts.txt")
        return files

    @contextmanager
    def _to_build(self, name: str, report: Report) -> Iterator[Path]:
        """The ONNX file that goes to the builder: the exported one, or one quantised for this build."""
        if self._precision(name) is not Precision.FP8:
            yield self._onnx(name)
            return
        self.output.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.output, prefix=".fp8-") as folder:
            report(name, "calibrating and quantising to fp8")
            quantised = Path(folder) / ONNX
            quantize_fp8(self._onnx(name), self._recorded[name], quantised)
            yield quantised

    @cached_property
    def _recorded(self) -> dict[str, Arrays]:
        names = [name for name in step_engine_names() if self._precision(name) is Precision.FP8]
        return record_inputs(self.repository, self._cases, names)

    @cached_property
    def _cases(self) -> list[Case]:
        return read_cases(self._calibration_folder, self.calibration_pictures)

    @property
    def _calibration_folder(self) -> Path:
        if self.calibration is None:
            raise ExportError("fp8 needs --calibration DIR with faces/, poses/ and prompts.txt")
        return self.calibration

    def _assemble(self) -> None:
        """Bring the models without an engine along, and write what they must know of the plans."""
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
