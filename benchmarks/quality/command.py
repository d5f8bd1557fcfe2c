"""``python -m benchmarks quality``: people, poses and prompts held back from training, in numbers and pictures."""

import argparse
import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from insta_depth import AsyncInstaDepth
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.local.server import ON_FREE_PORTS, LocalTriton

from .cases import Case, draw_cases
from .looking import Looker
from .scores import OTHERS, Score, Summary, Targets, score
from .sheet import contact_sheet

_IN_FLIGHT = 8
_SHOWN = 24
_COLUMNS = ("first of 20", "cosine", "keypoints", "depth", "clothes", "background")


@dataclass(frozen=True)
class Setting:
    """How the pictures are made: one row of the table."""

    scheduler: str | None
    num_inference_steps: int
    guidance_scale: float

    def __str__(self) -> str:
        return f"{self.scheduler or 'default'}, {self.num_inference_steps} steps, guidance {self.guidance_scale:g}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("--repository", type=Path, default=Path("build/miniature"))
    parser.add_argument("--cases", type=_enough, default=200, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws other cases (%(default)s)")
    parser.add_argument("--steps", type=_list_of(int), default=[10], metavar="N,…", help="(10)")
    parser.add_argument("--guidance", type=_list_of(float), default=[3.0], metavar="X,…", help="(3)")
    parser.add_argument("--schedulers", type=_list_of(str), default=[None], metavar="NAME,…", help="(the default one)")
    parser.add_argument("--output", type=Path, default=Path("build/quality"), help="(%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Measure every setting; the exit status is 1 where the first one misses a target."""
    options.output.mkdir(parents=True, exist_ok=True)
    settings = [Setting(*each) for each in product(options.schedulers, options.steps, options.guidance)]
    cases = list(draw_cases(options.cases, options.seed))
    with LocalTriton(options.repository, ON_FREE_PORTS) as server:
        looker = Looker(server.grpc_url, options.repository)
        summaries = [_measure(server, looker, cases, setting, options.output) for setting in settings]
        looker.close()
    console = Console()
    console.print(_table(settings, summaries))
    console.print(f"Contact sheets and scores are in {options.output}", highlight=False)
    return 0 if summaries[0].meets(Targets()) else 1


def _measure(server: LocalTriton, looker: Looker, cases: Sequence[Case], setting: Setting, folder: Path) -> Summary:
    images = asyncio.run(_make(server.grpc_url, cases, setting))
    scores = _look(looker, cases, images)
    _write(folder, setting, cases, images, scores)
    return Summary.of(scores)


def _enough(text: str) -> int:
    if int(text) <= OTHERS:
        raise argparse.ArgumentTypeError(f"{text} cases are too few: each face is held against {OTHERS} others'")
    return int(text)


def _list_of(kind: type) -> type:
    def parse(text: str) -> list:
        return [kind(part) for part in text.split(",")]

    parse.__name__ = f"list of {kind.__name__}"
    return parse  # type: ignore[return-value]


async def _make(grpc_url: str, cases: Sequence[Case], setting: Setting) -> list[np.ndarray]:
    """Return each case's picture (H, W, 3) uint8 RGB."""
    gate, attributes = asyncio.Semaphore(_IN_FLIGHT), {k: v for k, v in asdict(setting).items() if v is not None}
    with Progress() as bar:
        task = bar.add_task(str(setting), total=len(cases))

        async def make(client: AsyncInstaDepth, case: Case) -> np.ndarray:
            async with gate:
                made = await client.generate(
                    face_image=_png(case.face_picture),
                    pose_image=_png(case.pose_picture),
                    prompt=case.prompt,
                    seed=case.seed,
                    output_format="png",
                    **attributes,
                )
            bar.advance(task)
            return np.asarray(Image.open(io.BytesIO(made.image)).convert("RGB"))

        async with AsyncInstaDepth(grpc_url) as client:
            return await asyncio.gather(*(make(client, case) for case in cases))


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _look(looker: Looker, cases: Sequence[Case], images: Sequence[np.ndarray]) -> list[Score]:
    faces = [looker(case.face_picture).embedding for case in cases]
    known = np.stack([np.zeros(512, np.float32) + 1e-6 if face is None else face for face in faces])
    return [
        score(case, image, looker(image), looker(case.pose_picture), known, own)
        for own, (case, image) in enumerate(zip(cases, images, strict=True))
    ]


def _write(
    folder: Path, setting: Setting, cases: Sequence[Case], images: Sequence[np.ndarray], scores: Sequence[Score]
) -> None:
    name = f"{setting.scheduler or 'default'}-{setting.num_inference_steps}-{setting.guidance_scale:g}"
    lines = [json.dumps({"prompt": case.prompt, **asdict(each)}) for case, each in zip(cases, scores, strict=True)]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    contact_sheet(cases[:_SHOWN], images[:_SHOWN]).save(folder / f"{name}.png")


def _table(settings: Sequence[Setting], summaries: Sequence[Summary]) -> Table:
    table = Table("", *_COLUMNS, title=f"{summaries[0].cases} held-back cases; targets in the last row")
    for setting, summary in zip(settings, summaries, strict=True):
        table.add_row(
            str(setting),
            f"{summary.first:.1%}",
            f"{summary.cosine:.2f}",
            f"{summary.keypoint_error:.1%}",
            f"{summary.depth_correlation:.3f}",
            f"{summary.clothes:.1%}",
            f"{summary.background:.1%}",
        )
    wanted = Targets()
    table.add_row(
        "",
        f"≥ {wanted.first:.0%}",
        "",
        f"≤ {wanted.keypoint_error:.0%}",
        f"≥ {wanted.depth_correlation}",
        f"≥ {wanted.clothes:.0%}",
        "",
    )
    return table
