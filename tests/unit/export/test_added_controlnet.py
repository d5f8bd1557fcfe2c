"""docs/extending.md adds a ControlNet; here its code is added to a copy of ours, and pictures are made with it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.psnr import psnr_db

ROOT = Path(__file__).parents[3]
DENOISING = "model_repository/insta_depth_stream/1/denoising"
TABLES = {
    "export/controlnets.py": "CONTROLNETS = (",
    f"{DENOISING}/control_pictures.py": "CONTROL_PICTURES: Mapping[str, Callable[[Pose], Array]] = {",
    "insta_depth_shared/attributes.py": "ATTRIBUTES = (",
}
"""Where each of the page's three rows goes, in the page's order."""
PICTURES = """
import sys
from pathlib import Path

from export.in_process import generate, import_models_of, make_pipeline

repository, pictures, output = map(Path, sys.argv[1:])
import_models_of(repository)
from denoising.control_pictures import CONTROL_PICTURES

request = {name + "_image": (pictures / (name + ".png")).read_bytes() for name in ("face", "pose")}
request |= {"prompt": "a woman", "num_inference_steps": 4, "seed": 5, "output_format": "png"}
pipeline = make_pipeline(repository)


def save(name, **scales):
    (output / name).write_bytes(generate(pipeline, request | scales).image)


save("as_before.png", depth_scale=0.6)
if "canny" in CONTROL_PICTURES:
    save("outlines.png", depth_scale=0.6, canny_scale=1.0)
    CONTROL_PICTURES["canny"] = CONTROL_PICTURES["depth"]
    save("halves.png", depth_scale=0.2, canny_scale=0.4)
"""


def rows_of_the_page() -> list[str]:
    section = (ROOT / "docs" / "extending.md").read_text().split("## A ControlNet\n")[1].split("\n## ")[0]
    return [row.strip() for row in re.findall(r"```python\n(.*?)```", section, re.DOTALL)]


def add(row: str, file: Path, table: str) -> None:
    before, opening, after = file.read_text().partition(table)
    assert opening, f"{file} has no {table}"
    end = re.search(r"(?m)^[)}]$", after)
    assert end
    file.write_text(f"{before}{opening}{after[: end.start()]}    {row.rstrip(',')},\n{after[end.start() :]}")


def run(tree: Path, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(tree)}
    ended = subprocess.run([sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-4000:]


def pictures(tree: Path, repository: Path, output: Path) -> dict[str, np.ndarray]:
    output.mkdir()
    run(tree, "-c", PICTURES, str(repository), str(ROOT / "miniature" / "weights" / "pictures"), str(output))
    return {path.stem: np.asarray(Image.open(path)) for path in output.iterdir()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our code with the page's rows."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("export", "insta_depth_shared", "model_repository"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for row, (file, table) in zip(rows_of_the_page(), TABLES.items(), strict=True):
        add(row, tree / file, table)
    request = tree / DENOISING / "request.py"
    request.write_text(
        request.read_text().replace("    depth_scale: float\n", "    depth_scale: float\n    canny_scale: float\n")
    )
    return tree


@pytest.fixture(scope="module")
def repository(tree: Path, miniature_repository: Path, miniature_checkpoint: Path) -> Path:
    """The miniature exported with a third ControlNet: its depth net a second time."""
    for part in ("base", "instantid", "depth", "antelopev2", "controlnet-depth"):
        (tree / "checkpoint" / part).parent.mkdir(exist_ok=True)
        (tree / "checkpoint" / part).symlink_to(miniature_checkpoint / part)
    (tree / "checkpoint" / "controlnet-canny").symlink_to(miniature_checkpoint / "controlnet-depth")
    made = tree / "build" / "miniature"
    shutil.copytree(miniature_repository, made)  # so that only the new engine and the UNet are exported
    run(tree, "-m", "export", "onnx", "--checkpoint", "checkpoint", "--output", str(made), "--max-side", "192")
    return made


@pytest.mark.long
@pytest.mark.slow
def test_a_controlnet_is_a_row_a_picture_and_an_attribute(
    tree: Path, repository: Path, miniature_repository: Path, tmp_path: Path
) -> None:
    (expected,) = pictures(ROOT, miniature_repository, tmp_path / "ours").values()
    made = pictures(tree, repository, tmp_path / "with-canny")
    assert psnr_db(made["as_before"], expected) > 60, "at scale 0, its default, nothing changes"
    assert psnr_db(made["halves"], expected) > 60, "the same net over the same picture: the scales add up"
    assert psnr_db(made["outlines"], expected) < 40, "the outlines act"
