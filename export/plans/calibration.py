"""Calibration inputs of a step's engines, recorded while making pictures of a folder of faces, poses and prompts."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExportError
from ..in_process import Arrays, InProcess, RunEngine, generate, import_models_of, make_pipeline, onnx_engine

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
STEPS = 4
"""Steps of a calibration picture: all noise levels are recorded."""


class CalibrationError(ExportError):
    """The calibration folder is incomplete."""


@dataclass(frozen=True)
class Case:
    """One picture to make: a face, a pose and a prompt."""

    face: Path
    pose: Path
    prompt: str

    def attributes(self, seed: int) -> dict[str, Any]:
        """Return the request of this case."""
        return {
            "prompt": self.prompt,
            "face_image": self.face.read_bytes(),
            "pose_image": self.pose.read_bytes(),
            "num_inference_steps": STEPS,
            "seed": seed,
        }


def read_cases(folder: Path, count: int) -> list[Case]:
    """Return ``count`` cases from ``faces/``, ``poses/`` and ``prompts.txt`` (one a line), in rotation.

    Raises `CalibrationError` naming what is missing.
    """
    faces, poses = (_pictures(folder / part) for part in ("faces", "poses"))
    path = folder / "prompts.txt"
    prompts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.exists() else []
    if not prompts:
        raise CalibrationError(f"{path} holds no prompt, one a line")
    return [Case(faces[i % len(faces)], poses[i % len(poses)], prompts[i % len(prompts)]) for i in range(count)]


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise CalibrationError(f"{folder} holds no picture ({', '.join(PICTURES)})")
    return found


def record_inputs(repository: Path, cases: Sequence[Case], engines: Sequence[str]) -> dict[str, Arrays]:
    """Make the cases' pictures in this process; return each engine's inputs, the rows of all calls concatenated.

    Calls of another size than the first are skipped, since the rows of an array have one shape.
    """
    calls: dict[str, list[Arrays]] = defaultdict(list)

    def open_recorded(folder: Path) -> RunEngine:
        run, name = onnx_engine(folder), folder.parent.name

        def run_recorded(inputs: Arrays, outputs: Sequence[str]) -> Arrays:
            if name in engines:
                calls[name].append(inputs)
            return run(inputs, outputs)

        return run_recorded

    import_models_of(repository)
    pipeline = make_pipeline(repository, InProcess(repository, open_recorded))
    for seed, case in enumerate(cases):
        generate(pipeline, case.attributes(seed))
    return {name: _stacked(list(_alike(made))) for name, made in calls.items()}


def _alike(calls: Sequence[Arrays]) -> Iterator[Arrays]:
    shapes = {name: value.shape for name, value in calls[0].items()}
    return (call for call in calls if {name: value.shape for name, value in call.items()} == shapes)


def _stacked(calls: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}
