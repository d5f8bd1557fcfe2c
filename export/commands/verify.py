"""``python -m export verify``: compare TensorRT with ONNX Runtime, engine by engine and in whole pictures."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..engines import engine_table
from ..errors import ExportError
from ..facts import load_facts
from ..in_process import manifest
from ..parity import ParityRow
from ..plans import record
from ..precision import Precision
from ..repository import FACTS, exported_precision
from ..verification.engines import EngineCase, compare_engine
from ..verification.pictures import MIN_FACE_COSINE, MIN_PSNR_DB, PictureRow, compare_pictures
from ..verification.sides import Side, onnx_side, tensorrt_side, with_vae_of
from . import Commands, engine_names

_PROMPT = "Photo of a woman wearing a Superman costume"


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    verify = commands.add_parser("verify", help="compare TensorRT with ONNX Runtime, or one export with another")
    verify.add_argument("--repository", type=Path, required=True, metavar="build/NAME", help="what is verified")
    verify.add_argument(
        "--against", type=Path, metavar="build/NAME", help="the reference's ONNX engines (default: the repository's)"
    )
    verify.add_argument("--runtime", choices=("tensorrt", "onnx"), default="tensorrt", help="of what is verified")
    verify.add_argument("--only", type=engine_names, default=frozenset(), metavar="ENGINE,…", help="no pictures then")
    verify.add_argument("--face", type=Path, metavar="FILE", help="with --pose: compare whole pictures, too")
    verify.add_argument("--pose", type=Path, metavar="FILE")
    verify.add_argument(
        "--stock-vae", type=Path, metavar="DIR", help="compare a picture, too, with that of the VAE here, in fp32"
    )
    verify.add_argument("--prompt", default=_PROMPT, metavar="TEXT")
    verify.add_argument("--seeds", type=int, default=2, metavar="N", help="pictures to compare (%(default)s)")
    verify.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Compare and print both tables; the exit status is 1 if a limit is exceeded."""
    tested = tensorrt_side(options.repository) if options.runtime == "tensorrt" else onnx_side(options.repository)
    reference = onnx_side(options.against or options.repository)
    if (options.face is None) != (options.pose is None):
        raise ExportError("--face and --pose belong together")
    if options.stock_vae and (options.face is None or options.only):
        raise ExportError("--stock-vae compares a picture: it needs --face and --pose, and no --only")
    engines = _engines(options, reference, tested, console)
    pictures = _pictures(options, reference, tested, console) if not options.only else []
    verdicts = [row.passed for row in engines] + [row.passed for row in pictures]
    return 0 if all(verdicts) else 1


def _engines(options: argparse.Namespace, reference: Side, tested: Side, console: Console) -> list[ParityRow]:
    table = Table("engine", "input", "largest difference", "tolerance", "", title=f"{tested.name} ÷ {reference.name}")
    rows: list[ParityRow] = []
    with console.status("") as status:
        for case in _cases(tested.repository, options.only):
            status.update(f"comparing {case.engine.name}")
            for row in compare_engine(case, reference, tested):
                rows.append(row)
                table.add_row(row.engine, row.shapes, f"{row.error:.1e}", f"{row.tolerance:.0e}", _verdict(row.passed))
    console.print(table)
    return rows


def _cases(repository: Path, only: frozenset[str]) -> list[EngineCase]:
    cases = []
    for name, engine in engine_table(load_facts(repository / FACTS)).items():
        if only and name not in only:
            continue
        plan = record.load(repository / name)
        profiles = tuple({s: (v[0], v[1], v[2]) for s, v in p.items()} for p in plan.profiles) if plan else ()
        precision = Precision(plan.precision) if plan else exported_precision(repository, name)
        cases.append(EngineCase(engine, precision, profiles))
    return cases


def _pictures(options: argparse.Namespace, reference: Side, tested: Side, console: Console) -> list[PictureRow]:
    if options.face is None:
        console.print("whole pictures were not compared: give --face and --pose", highlight=False)
        return []
    attributes: dict[str, Any] = {
        "prompt": options.prompt,
        "face_image": options.face.read_bytes(),
        "pose_image": options.pose.read_bytes(),
        "num_inference_steps": manifest(tested.repository).defaults["num_inference_steps"],
    }
    requests = {f"seed {seed}": {**attributes, "seed": seed} for seed in range(options.seeds)}
    with console.status("making pictures"):
        rows = compare_pictures(requests, reference, tested)
        if options.stock_vae:
            by_the_stock_vae = {f"seed 0, VAE of {options.stock_vae}": requests["seed 0"]}
            rows += compare_pictures(by_the_stock_vae, with_vae_of(tested, options.stock_vae), tested)
    title = f"pictures (PSNR ≥ {MIN_PSNR_DB:g} dB, ArcFace cosine ≥ {MIN_FACE_COSINE:g})"
    table = Table("request", "PSNR", "ArcFace cosine", "", title=title)
    for row in rows:
        cosine = "no face" if row.face_cosine is None else f"{row.face_cosine:.3f}"
        table.add_row(row.request, f"{row.psnr_db:.1f} dB", cosine, _verdict(row.passed))
    console.print(table)
    return rows


def _verdict(passed: bool) -> str:
    return "[green]ok[/]" if passed else "[red]over[/]"
