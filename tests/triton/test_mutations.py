"""A system with one thing wrong makes pictures that are wrong, and the semantic measures say so."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.server import ON_FREE_PORTS, LocalTriton

from .semantics import CLOTHES, FEW, LIKENESS, POSE, Control, Observer

LOOP, CONTROL_PICTURES, PIPELINE = (
    f"insta_depth_stream/1/denoising/{name}.py" for name in ("loop", "control_pictures", "pipeline")
)


@dataclass(frozen=True)
class Mistake:
    """One line of the served code as it is, as it should never be, and the control that notices."""

    file: str
    right: str
    wrong: str
    noticed_by: Control


MISTAKES = {
    "swapped guidance halves": Mistake(
        LOOP, "negative, positive = noise_pred.chunk(2)", "positive, negative = noise_pred.chunk(2)", CLOTHES
    ),
    "wrong keypoint colours": Mistake(
        CONTROL_PICTURES, "    return drawing\n", "    return np.ascontiguousarray(drawing[..., ::-1])\n", POSE
    ),
    "lost face tokens": Mistake(
        PIPELINE, "prompt_image_emb=face_tokens,", "prompt_image_emb=face_tokens * 0,", LIKENESS
    ),
}


def seen(control: Control, server: LocalTriton, repository: Path) -> float:
    observer = Observer(server.grpc_url, repository)
    try:
        return control.of(observer(FEW, FEW))
    finally:
        observer.close()


@pytest.mark.long
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_seen(mistake, server, miniature_repository, tmp_path):
    repository = _copy(miniature_repository, tmp_path / "mistaken")
    _replace(repository / mistake.file, mistake.right, mistake.wrong)
    control = mistake.noticed_by
    assert seen(control, server, miniature_repository) >= control.least
    with LocalTriton(repository, ON_FREE_PORTS) as mistaken:
        assert seen(control, mistaken, miniature_repository) < control.least


def _copy(repository: Path, to: Path) -> Path:
    return shutil.copytree(repository, to, ignore=shutil.ignore_patterns("__pycache__"))


def _replace(file: Path, right: str, wrong: str) -> None:
    source = file.read_text()
    assert source.count(right) == 1
    file.write_text(source.replace(right, wrong))
