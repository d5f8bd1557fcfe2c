"""Writing a complete, self-contained Triton model repository from a checkpoint."""

import gc
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from transformers import AutoImageProcessor

from insta_depth_shared.manifest import FILE_NAME as MANIFEST

from .checkpoint import Checkpoint, Lora
from .checkpoint.files import read_object
from .checks import check_checkpoint, check_values
from .engines import PUBLISHED_AS_ONNX, ROW_OF, Engine, engine_table
from .errors import ExportError, ParityError
from .face_models import convert_face_model
from .facts import Facts, read_facts, save_facts
from .few_steps import Recipe, recipe_for
from .in_process import manifest as load_manifest
from .manifest import Preview, Sides, image_facts, make_manifest, offers
from .networks.lora import NETWORKS as LORA_NETWORKS
from .networks.lora import check_loras
from .networks.vae_decoder import VaeDecoder, fit_preview
from .onnx_export import export_onnx
from .parity import ParityRow, check_face_model, check_module
from .precision import Precision, Precisions
from .schedulers import Schedulers, read_schedulers
from .shapes import USUAL_ROWS, ProfileMaker, usual_values
from .triton_configs import NAME as ENSEMBLE
from .triton_configs import complete_config, engine_config, request_config

SOURCE = Path(__file__).parent.parent / "model_repository"
SHARED = Path(__file__).parent.parent / "insta_depth_shared"
VERSION = "1"
STAMP = "export.json"
_PACKAGE = Path(__file__).parent
_CODE = (
    *(_PACKAGE / name for name in ("onnx_export.py", "face_models.py", "precision.py")),
    *sorted((_PACKAGE / "networks").glob("*.py")),
    *(_PACKAGE / "checkpoint" / name for name in ("adapter.py", "weights.py")),
)
PREVIEW = "preview.json"
FACTS = "facts.json"
TAKING_REQUESTS = ("insta_depth", "insta_depth_stream")

Report = Callable[[str, str], None]
"""Called with an engine's name and what happens to it."""


@dataclass
class Export:
    """One run of ``python -m export onnx``; `run` does the work and yields the parity rows."""

    checkpoint: Checkpoint
    output: Path
    precisions: Precisions = field(default_factory=Precisions)
    sides: Sides = field(default_factory=Sides)
    only: frozenset[str] = frozenset()
    verify: bool = True
    few_steps: Recipe | None = None
    refine: bool = True

    def __post_init__(self) -> None:
        check_checkpoint(self.checkpoint, self.only)
        self.few_steps = recipe_for(self.checkpoint, self.few_steps)
        self.facts: Facts = read_facts(self.checkpoint, self.refine)
        self.schedulers: Schedulers = read_schedulers(self.checkpoint.base, self.few_steps)
        self.table: dict[str, Engine] = engine_table(self.facts)
        unknown = self.only - set(self.table)
        if unknown:
            raise ExportError(f"--only: unknown {sorted(unknown)}; the engines are {sorted(self.table)}")
        check_precisions(self.precisions, self.table)
        self._check_only()
        check_loras(self.checkpoint)

    def _check_only(self) -> None:
        """The engines that stay and those that are made anew have to exchange tensors of one type."""
        path, io_dtype = self.output / "insta_depth_stream" / VERSION / MANIFEST, self.precisions.most.io_dtype
        if not self.only or not path.exists():
            return
        kept = Precision(load_manifest(self.output).precision).io_dtype
        if kept != io_dtype:
            raise ExportError(
                f"--precision: the engines of {self.output} exchange {kept}, with --only the new ones would exchange "
                f"{io_dtype}; leave --only out, or name the engine, as in fp32,unet=fp16"
            )

    def run(self, report: Report) -> Iterator[ParityRow]:
        """Export what is out of date, one network at a time, then add the Python models.

        Raises `CheckpointError` before the first one where a weight of any is no number, `ParityError` after a
        network that differs from its module; that engine is not installed.
        """
        names = [name for name in self.table if not self.only or name in self.only]
        for name in names:
            if not self._is_up_to_date(name):
                report(name, "checking its weights")
                check_values(self.checkpoint, name, self._precision(name).torch_dtype)
        for name in names:
            yield from self._engine(name, report)
            self._configure(name)
        if not self.only:
            self._assemble()
            plans = any(self.output.glob(f"*/{VERSION}/model.plan"))
            report(ENSEMBLE, "wired; for its plans run `python -m export tensorrt` again" if plans else "wired")

    def _is_up_to_date(self, name: str) -> bool:
        return _stamp(self.output / name) == self._fingerprint(name)

    def _engine(self, name: str, report: Report) -> Iterator[ParityRow]:
        folder, fingerprint = self.output / name, self._fingerprint(name)
        if self._is_up_to_date(name):
            report(name, "up to date")
            return
        report(name, "exporting")
        staging = self.output.parent / f".{self.output.name}-{name}"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            yield from self._export(name, staging, report)
            (staging / STAMP).write_text(json.dumps(fingerprint), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            self.output.mkdir(parents=True, exist_ok=True)
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            gc.collect()

    def _configure(self, name: str) -> None:
        """Write the whole configuration of engine ``name``, warmed up at the sizes that most pictures have."""
        usual_rows = (self.facts.recognizer_rows or 1) if name in PUBLISHED_AS_ONNX else USUAL_ROWS
        ranges, *_ = self._profile_maker.profiles(self.table[name], (usual_rows,) * 3)
        io_dtype = self.precisions.most.io_dtype
        config = engine_config(policy(name), self.table[name], usual_values(ranges), io_dtype)
        (self.output / name / "config.pbtxt").write_text(config, encoding="utf-8")

    @cached_property
    def _profile_maker(self) -> ProfileMaker:
        processor = AutoImageProcessor.from_pretrained(self.checkpoint.depth, backend="pil")
        return ProfileMaker(self.facts, image_facts(self.facts, self.sides), processor)

    def _export(self, name: str, staging: Path, report: Report) -> Iterator[ParityRow]:
        engine, path = self.table[name], staging / VERSION / "model.onnx"
        if name in PUBLISHED_AS_ONNX:
            published = ROW_OF[name].source.path(self.checkpoint)
            convert_face_model(published, engine, path)
            yield from self._checked(check_face_model(published, engine, path), report)
            return
        precision = self._precision(name)
        module = ROW_OF[name].module(self.checkpoint, self.facts, precision)
        io_dtype = self.precisions.most.io_dtype
        export_onnx(module, engine, path, precision, io_dtype)
        yield from self._checked(check_module(module, engine, path, precision, io_dtype), report)
        if isinstance(module, VaeDecoder):
            self._fit_preview(module, staging)

    def _checked(self, rows: Iterator[ParityRow], report: Report) -> Iterator[ParityRow]:
        if not self.verify:
            return
        for row in rows:
            report(row.engine, f"checking {row.shapes}")
            yield row
            if not row.passed:
                raise ParityError(
                    f"{row.engine} at {row.shapes} differs from its module by {row.error:.1e} "
                    f"of the largest value; the tolerance is {row.tolerance:.0e}"
                )

    def _fit_preview(self, decoder: VaeDecoder, staging: Path) -> None:
        weight, bias = fit_preview(decoder.float(), self.facts.latent_channels, self.facts.vae_factor)
        (staging / PREVIEW).write_text(json.dumps({"weight": weight, "bias": bias}), encoding="utf-8")

    def _precision(self, name: str) -> Precision:
        return ROW_OF[name].precision(self.checkpoint, self.precisions)

    def _fingerprint(self, name: str) -> dict[str, str]:
        """What an engine was made from: the checkpoint's files, the code that makes it, its tensors and precision."""
        digest = hashlib.sha256()
        for path in _CODE:
            digest.update(path.read_bytes())
        for path in [
            *ROW_OF[name].source.files(self.checkpoint),
            *(lora.file for lora in _loras(name, self.checkpoint)),
        ]:
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
        precision = self._precision(name)
        io_dtype = self.precisions.most.io_dtype
        digest.update(f"{self.table[name]} {precision} {io_dtype} {self.verify}".encode())
        loras = [f"{lora.file.name}:{lora.scale}" for lora in _loras(name, self.checkpoint)]
        digest.update(" ".join(loras).encode())
        noted = {"loras": ", ".join(loras)} if loras else {}
        return {"fingerprint": digest.hexdigest(), "precision": precision.value, **noted}

    def _assemble(self) -> None:
        preview = Preview(**read_object(self.output / "vae_decoder" / PREVIEW))
        manifest = make_manifest(
            self.output.name,
            self.checkpoint,
            self.facts,
            self.table,
            self.precisions.most,
            self.sides,
            preview,
            self.schedulers,
            self.few_steps,
        )
        for source in sorted(SOURCE.iterdir()):
            if (source / VERSION / "model.py").exists():
                folder = _copy_python_model(source, self.output / source.name)
                manifest.save(folder)
        for name in TAKING_REQUESTS:
            config = request_config(SOURCE / name / "config.pbtxt", offers(manifest))
            (self.output / name / "config.pbtxt").write_text(config, encoding="utf-8")
        for name in ("tokenizer", "tokenizer_2"):
            _copy(self.checkpoint.base / name, self.output / "prompt_encoder" / VERSION / name)
        processor = self.output / "insta_depth_stream" / VERSION / "depth_processor"
        processor.mkdir()
        shutil.copy(self.checkpoint.depth / "preprocessor_config.json", processor)
        ensemble = self.output / ENSEMBLE
        (ensemble / VERSION).mkdir(parents=True, exist_ok=True)
        config = complete_config(SOURCE / ENSEMBLE / "config.pbtxt", self.table, self.precisions.most.io_dtype)
        (ensemble / "config.pbtxt").write_text(config, encoding="utf-8")
        save_facts(self.facts, self.output / FACTS)
        for name in ROW_OF.keys() - self.table.keys():
            shutil.rmtree(self.output / name, ignore_errors=True)


def _copy_python_model(source: Path, target: Path) -> Path:
    """Copy one model and the shared package into it; return its version folder."""
    shutil.rmtree(target, ignore_errors=True)
    _copy(source, target)
    _copy(SHARED, target / VERSION / SHARED.name)
    return target / VERSION


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"), dirs_exist_ok=True)


def policy(name: str) -> Path:
    """Return the ``config.pbtxt`` of engine ``name``; a ControlNet without one has ControlNet-Depth's."""
    own = SOURCE / name / "config.pbtxt"
    return own if own.exists() else SOURCE / "controlnet_depth" / "config.pbtxt"


def _stamp(folder: Path) -> dict[str, str] | None:
    """What an engine was made from; None where nothing tells, so that it is made anew."""
    try:
        return json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _loras(name: str, checkpoint: Checkpoint) -> tuple[Lora, ...]:
    """What is fused into an engine."""
    return checkpoint.loras if name in LORA_NETWORKS else ()


def check_precisions(precisions: Precisions, table: Mapping[str, Engine]) -> None:
    """Raise `ExportError` for precisions that no repository can have."""
    for name in precisions.others:
        if name not in table:
            raise ExportError(f"--precision: unknown engine {name}; the engines are {sorted(table)}")
        if name in PUBLISHED_AS_ONNX:
            raise ExportError(f"--precision: {name} is published as ONNX and stays as it is")


def exported_precision(repository: Path, name: str) -> Precision:
    """Return the precision in which engine ``name`` was exported; raises `ExportError` where nothing says so."""
    path = repository / name / STAMP
    if not path.exists():
        raise ExportError(f"{path} is missing: python -m export onnx writes it")
    try:
        return Precision(read_object(path).get("precision"))
    except ValueError as error:
        raise ExportError(f"{path} names no precision: export the checkpoint again") from error
