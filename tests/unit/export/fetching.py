"""A small published source, and what fetches it and looks at what came."""

import hashlib
import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from export.fetching.fetch import Fetch
from export.fetching.hub import Hub
from export.fetching.published import (
    ANTELOPE,
    DEPTH_ANYTHING,
    Published,
)
from tests.unit.export.hub_stand_in import StandIn

OLD, NEW = "a" * 40, "b" * 40
WEIGHTS = random.Random(0).randbytes(300_000)
SMALL = Published(
    part="depth",
    repo="somebody/depth",
    revision=OLD,
    folder="depth",
    patterns=("*",),
    needs=("config.json",),
    licence=DEPTH_ANYTHING.licence,
    size_gb=0.1,
)


def fetch(hub: StandIn, folder: Path, *sources: Published, **options: object) -> Fetch:
    options = {"accepted": True} | options
    console = Console(file=io.StringIO(), width=200)
    return Fetch(folder, list(sources or (SMALL,)), Hub(hub.url), console, **options)


def printed(one: Fetch) -> str:
    return one.console.file.getvalue()


def record(folder: Path) -> dict:
    return json.loads((folder / "fetched.json").read_text())


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def weights_in(miniature: Path) -> set[str]:
    """What ``fetch`` brings without being asked for more: no demo's pictures, no card, no LoRA for few steps."""
    return {path for path in files_in(miniature) if "/" in path and not path.startswith(("pictures/", "few-steps/"))}


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def antelope(hub: StandIn, files: dict[str, bytes], pinned: dict[str, bytes]) -> Published:
    archive = zipped(files)
    hub.plain["/faces.zip"] = archive
    pins = {name: hashlib.sha256(content).hexdigest() for name, content in pinned.items()}
    pins["antelopev2.zip"] = hashlib.sha256(archive).hexdigest()
    return replace(ANTELOPE, archive=f"{hub.url}/faces.zip", archive_size=len(archive), sha256=pins)


MODELS = {"scrfd_10g_bnkps.onnx": WEIGHTS[:5000], "glintr100.onnx": WEIGHTS[5000:90_000]}
