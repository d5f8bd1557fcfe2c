"""``python -m benchmarks quality``: people, poses and prompts held back from training, in numbers and pictures."""

import argparse
import json
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.local.server import ON_FREE_PORTS, LocalTriton

from .cases import Case, draw_cases
from .evaluate import Looker, See, look
from .generate import make_pictures, request_of
from .scores import OTHERS, Score, Summary, Targets
from .sheet import contact_sheet

_SHOWN, _WARM_UP = 24, 4
_COLUMNS = ("first of 20", "cosine", "unseen", "keypoints", "depth", "clothes", "background", "time")


@dataclass(frozen=True)
class Setting:
    """How the pictures are made: one row of the table."""

    scheduler: str | None
    num_inference_steps: int
    guidance_scale: float
    faces: int = 1
    face_size: float = 1.0
    """Of the pose pictures' people, as a share of the usual one."""
    changes: Mapping[str, str | float] = field(default_factory=dict)
    """Other attributes of the request, by name."""

    def __str__(self) -> str:
        faces = f", {self.faces} faces" if self.faces > 1 else ""
        faces += f", faces of {self.face_size:.0%}" if self.face_size != 1 else ""
        changes = "".join(f", {name} {value}" for name, value in self.changes.items())
        sampling = f"{self.scheduler or 'default'}, {self.num_inference_steps} steps"
        return f"{sampling}, guidance {self.guidance_scale:g}{faces}{changes}"

    @property
    def file_name(self) -> str:
        """Without a suffix."""
        faces = f"-{self.faces}faces" if self.faces > 1 else ""
        faces += f"-size{self.face_size:g}" if self.face_size != 1 else ""
        changes = "".join(f"-{name}={value}" for name, value in self.changes.items())
        return f"{self.scheduler or 'default'}-{self.num_inference_steps}-{self.guidance_scale:g}{faces}{changes}"

    def attributes(self) -> dict[str, Any]:
        """Return the arguments of `request_of` beside the case."""
        own = {
            each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("changes", "face_size")
        }
        return {name: value for name, value in own.items() if value is not None} | dict(self.changes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("--repository", type=Path, default=Path("build/miniature"))
    parser.add_argument("--cases", type=_enough, default=200, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws other cases (%(default)s)")
    parser.add_argument("--steps", type=_list_of(int), default=[10], metavar="N,…", help="(10)")
    parser.add_argument("--guidance", type=_list_of(float), default=[3.0], metavar="X,…", help="(3)")
    parser.add_argument("--schedulers", type=_list_of(str), default=[None], metavar="NAME,…", help="(the default one)")
    parser.add_argument("--faces", type=_list_of(int), default=[1], metavar="N,…", help="pictures of the person (1)")
    parser.add_argument(
        "--face-size", type=_list_of(float), default=[1.0], metavar="X,…", help="of the pose's face, usual size 1 (1)"
    )
    parser.add_argument(
        "--with",
        dest="changes",
        type=_changes,
        nargs="+",
        default=[{}],
        metavar="NAME=VALUE,…",
        help="a row for each: other attributes, as in guidance_end=0.5; '' is none",
    )
    parser.add_argument("--output", type=Path, default=Path("build/quality"), help="(%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Measure every setting; the exit status is 1 where the first one misses a target."""
    options.output.mkdir(parents=True, exist_ok=True)
    axes = (options.schedulers, options.steps, options.guidance, options.faces, options.face_size, options.changes)
    settings = [Setting(*each) for each in product(*axes)]
    console = Console()
    with LocalTriton(options.repository, ON_FREE_PORTS) as server:
        looker = Looker(server.grpc_url, options.repository)
        cases = {size: _visible(draw_cases(options.cases, options.seed, size), looker) for size in options.face_size}
        for size, found in cases.items():
            if len(found) < options.cases:
                console.print(f"faces of {size:.0%}: {options.cases - len(found)} poses show no face and are left out")
        _make(server.grpc_url, cases[settings[0].face_size][:_WARM_UP], settings[0])
        measured = [_measure(server, looker, cases[each.face_size], each, options.output) for each in settings]
        looker.close()
    console.print(_table(settings, measured))
    console.print(f"Contact sheets and scores are in {options.output}", highlight=False)
    return 0 if measured[0].summary.meets(Targets()) else 1


def _visible(cases: Iterable[Case], see: See) -> list[Case]:
    """Return the cases whose pose picture shows a face: of the others the service says that it shows none."""
    return [case for case in cases if see(case.pose_picture).keypoints is not None]


@dataclass(frozen=True)
class _Measured:
    """A row: scores, and the seconds that all its pictures took."""

    summary: Summary
    took_s: float


def _measure(server: LocalTriton, looker: Looker, cases: Sequence[Case], setting: Setting, folder: Path) -> _Measured:
    started_s = time.perf_counter()
    images = _make(server.grpc_url, cases, setting)
    took_s = time.perf_counter() - started_s
    scores = look(looker, cases, images)
    _write(folder, setting, cases, images, scores)
    return _Measured(Summary.of(scores), took_s)


def _enough(text: str) -> int:
    if int(text) <= OTHERS:
        raise argparse.ArgumentTypeError(f"{text} cases are too few: each face is compared with {OTHERS} others'")
    return int(text)


def _list_of(kind: type) -> type:
    def parse(text: str) -> list:
        return [kind(part) for part in text.split(",")]

    parse.__name__ = f"list of {kind.__name__}"
    return parse  # type: ignore[return-value]


def _changes(text: str) -> dict[str, str | float]:
    pairs = (part.split("=", 1) for part in text.split(",") if part)
    return {name: float(value) if re.fullmatch(r"[\d.]+", value) else value for name, value in pairs}


def _make(grpc_url: str, cases: Sequence[Case], setting: Setting) -> list[np.ndarray]:
    """Return each case's picture (H, W, 3) uint8 RGB."""
    with Progress() as bar:
        task = bar.add_task(str(setting), total=len(cases))
        return make_pictures(
            grpc_url, [request_of(case, **setting.attributes()) for case in cases], lambda: bar.advance(task)
        )


def _write(
    folder: Path, setting: Setting, cases: Sequence[Case], images: Sequence[np.ndarray], scores: Sequence[Score]
) -> None:
    name = setting.file_name
    lines = [_record(*pair) for pair in zip(cases, scores, strict=True)]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    contact_sheet(cases[:_SHOWN], images[:_SHOWN]).save(folder / f"{name}.png")


def _record(case: Case, each: Score) -> str:
    """Return one line of JSON; what cannot be measured, as the distance of a face that is not there, is null."""
    values = {name: value if math.isfinite(value or 0) else None for name, value in asdict(each).items()}
    return json.dumps({"prompt": case.prompt, **values}, allow_nan=False)


def _table(settings: Sequence[Setting], measured: Sequence[_Measured]) -> Table:
    """The last column is the time of all pictures as a share of the first row's."""
    cases = measured[0].summary.cases
    table = Table("", *_COLUMNS, title=f"{cases} held-back cases; targets in the last row")
    for setting, each in zip(settings, measured, strict=True):
        summary = each.summary
        table.add_row(
            str(setting),
            f"{summary.first:.1%}",
            f"{summary.cosine:.2f}",
            f"{summary.unseen_cosine:.2f}",
            f"{summary.keypoint_error:.1%}",
            f"{summary.depth_correlation:.3f}",
            f"{summary.clothes:.1%}",
            f"{summary.background:.1%}",
            f"{each.took_s / measured[0].took_s:.2f}",
        )
    wanted = Targets()
    table.add_row(
        "",
        f"≥ {wanted.first:.0%}",
        "",
        "",
        f"≤ {wanted.keypoint_error:.0%}",
        f"≥ {wanted.depth_correlation}",
        f"≥ {wanted.clothes:.0%}",
        "",
        "",
    )
    return table
