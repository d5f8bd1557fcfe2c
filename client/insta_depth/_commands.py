"""What the commands of `insta-depth` do."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from insta_depth._client import InstaDepth
from insta_depth._errors import ServerUnavailable
from insta_depth._generation import Generation, Progress, write_atomically
from insta_depth._request import GenerationRequest
from insta_depth._transport import Capabilities

Connect = Callable[[str, float | None], InstaDepth]
"""Makes a client from a URL and a timeout in seconds."""

_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}


class UsageProblem(Exception):
    """The command line is wrong in a way that is found before any server is called."""


def generate(arguments: argparse.Namespace, connect: Connect) -> None:
    """Generate a picture, write it, and print its path, seed and time."""
    started_s = time.monotonic()
    attributes = _attributes(arguments)
    with connect(arguments.url, arguments.timeout) as client, _progress_bar(arguments.quiet) as show:

        def on_progress(progress: Progress) -> None:
            show(progress)
            if progress.preview is not None:
                preview = arguments.preview_dir / f"step_{progress.step:03}.jpg"
                write_atomically(preview, progress.preview)

        generation = client.generate(on_progress=on_progress, **attributes)
    generation.save(arguments.output)
    sys.stdout.write(_summary(arguments.output, generation, time.monotonic() - started_s) + "\n")
    sys.stderr.write("".join(f"warning: {text}\n" for text in generation.warnings))


def status(arguments: argparse.Namespace, connect: Connect) -> None:
    """Print a server's version and models; raise `ServerUnavailable` unless all are ready."""
    with connect(arguments.url, arguments.timeout) as client:
        server = client.status()
        offers = client.capabilities() if server.ready else Capabilities()
    sys.stdout.write(f"Triton {server.version} at {arguments.url}\n")
    for model, ready in server.models.items():
        sys.stdout.write(f"  {model}: {'ready' if ready else 'not ready'}\n")
    if not server.ready:
        raise ServerUnavailable(f"the server at {arguments.url} is not ready")
    if offers.schedulers:
        sys.stdout.write(f"  schedulers: {', '.join(offers.schedulers)} (default: {offers.default_scheduler})\n")


def _attributes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the request's attributes; create the preview folder; check that the output can be written."""
    attributes = {each.name: getattr(arguments, each.name, None) for each in fields(GenerationRequest)}
    attributes["face_image"] = faces[0] if len(faces := arguments.face_image) == 1 else faces
    attributes["output_format"] = _output_format(arguments.output, arguments.output_format)
    _check_writable(arguments.output)
    if arguments.preview_dir is not None:
        arguments.preview_dir.mkdir(parents=True, exist_ok=True)
        attributes["preview"] = True
    return attributes


def _output_format(output: Path, asked: str | None) -> str:
    """Return the format that the suffix of ``output`` and --output-format agree on."""
    suffix = output.suffix.lower()
    if suffix not in _FORMATS and (suffix or asked is None):
        raise UsageProblem(f"{output}: the suffix is none of {', '.join(_FORMATS)}")
    by_suffix = _FORMATS.get(suffix, asked)
    if asked not in (None, by_suffix):
        raise UsageProblem(f"{output}: the suffix says {by_suffix}, but --output-format says {asked}")
    return str(by_suffix)


def _check_writable(output: Path) -> None:
    folder = output.resolve().parent
    if not folder.is_dir():
        raise UsageProblem(f"{output}: no such folder: {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageProblem(f"{output}: the folder {folder} is not writable")
    if output.exists() and not output.is_file():
        raise UsageProblem(f"{output}: not an ordinary file")


@contextmanager
def _progress_bar(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress on standard error if that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("generating", total=None, count="waiting")

        def show(progress: Progress) -> None:
            step, total = progress.step, progress.num_inference_steps
            waiting = f", {progress.ahead} ahead" if progress.ahead else ""
            bar.update(task, completed=step, total=total, count=f"step {step}/{total}{waiting}")

        yield show


def _summary(output: Path, generation: Generation, seconds: float) -> str:
    line = f"{output}  seed {generation.seed}  {seconds:.1f} s"
    return line if generation.pose_face else f"{line}  (no face in the pose picture: only its depth was followed)"
