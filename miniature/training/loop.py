"""One training loop for all networks: resumable, deterministic, with averaged weights, a loss curve and a sheet."""

import csv
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

Batch = dict[str, Any]
"""Tensors, which the loop moves to the device, and other inputs of the loss."""

_SAVED_EVERY_S = 120
_RECORDED_EVERY = 20
_WARM_UP = 0.03
_GRADIENT_LIMIT = 1.0
_AVERAGED_SHARE, _LONGEST_AVERAGE = 0.02, 1000


@dataclass(frozen=True)
class Schedule:
    """``steps`` of ``batch`` pictures; the learning rate warms up, then follows a cosine to zero."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.01


class Stage(ABC):
    """A training stage, from pictures to a loss."""

    name: str
    schedule: Schedule
    autocast = True

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The networks that this stage trains."""

    @abstractmethod
    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw one step's tensors, on the host; called one step ahead, in a separate thread."""

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss terms by name; ``batch`` is on the device."""

    def sheet(self) -> np.ndarray | None:
        """Return a preview (H, W, 3) uint8 RGB made with the averaged weights."""
        return None


@dataclass(frozen=True)
class Workplace:
    """The training's device, folder and seed."""

    folder: Path
    seed: int
    device: torch.device

    def path(self, stage: Stage, ending: str) -> Path:
        """Return a file of a stage."""
        return self.folder / f"{stage.name}.{ending}"


def train(stage: Stage, place: Workplace) -> None:
    """Train, resume, or load finished weights; afterwards ``stage.trained`` has the averaged weights, frozen.

    Each step's randomness depends only on the seed, the stage and the step. So an interrupted run has the same
    result as an uninterrupted one: to the bit on a CPU, closely on a GPU, whose sums have no fixed order.
    """
    finished = place.path(stage, "safetensors")
    network = stage.trained.to(place.device)
    if not finished.exists():
        # Restore the random state after training, so that later networks start the same as after loading this one.
        with torch.random.fork_rng(devices=[]):
            _finish(stage, network, place)
    network.load_state_dict(load_file(finished))
    _freeze(network)


def _finish(stage: Stage, network: nn.Module, place: Workplace) -> None:
    # Parts of it may have been frozen by an earlier stage.
    averaged = _run(stage, network.train().requires_grad_(True), place)
    network.load_state_dict(averaged.module.state_dict())
    _freeze(network)
    _write_sheet(stage, place.path(stage, "png"))
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, place.path(stage, "safetensors"))
    place.path(stage, "unfinished.pt").unlink(missing_ok=True)


def _freeze(network: nn.Module) -> None:
    network.eval().requires_grad_(False)


def _run(stage: Stage, network: nn.Module, place: Workplace) -> AveragedModel:
    schedule, unfinished = stage.schedule, place.path(stage, "unfinished.pt")
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=schedule.steps + 1, pct_start=_WARM_UP, cycle_momentum=False
    )
    over = min(_LONGEST_AVERAGE, max(1.0, schedule.steps * _AVERAGED_SHARE))
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / over), use_buffers=True)
    parts: dict[str, Any] = {
        "network": network,
        "optimizer": optimizer,
        "schedule": lr_scheduler,
        "averaged": averaged,
    }
    first = _resume(parts, unfinished)
    saved = time.monotonic()
    with (
        _attention(place.device),
        _Curve(place.path(stage, "csv"), first) as curve,
        tqdm(total=schedule.steps, initial=first, desc=stage.name) as bar,
    ):
        for step, batch in _batches(stage, place, first):
            torch.manual_seed(_seed(stage, place, step))
            losses = _step(stage, network, optimizer, batch)
            lr_scheduler.step()
            averaged.update_parameters(network)
            bar.update()
            if step % _RECORDED_EVERY == 0:
                bar.set_postfix(curve.record(step, losses))
            if time.monotonic() - saved > _SAVED_EVERY_S:
                _save(parts, step + 1, unfinished)
                saved = time.monotonic()
    return averaged


def _step(stage: Stage, network: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> dict[str, torch.Tensor]:
    device = next(network.parameters()).device
    with autocast(device) if stage.autocast else nullcontext():
        losses = stage.losses(batch)
    optimizer.zero_grad(set_to_none=True)
    sum(losses.values(), torch.zeros((), device=device)).backward()
    nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_LIMIT)
    optimizer.step()
    return losses


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """Compute in bfloat16, but not on a CPU without AVX-512: there convolutions in it take twenty times as long."""
    is_native = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.autocast(device.type, torch.bfloat16, enabled=is_native)


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU, the backward pass of torch's fused attention is slower than plain matrix products."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _batches(stage: Stage, place: Workplace, first: int) -> Iterator[tuple[int, Batch]]:
    """Yield each step's batch on the device, while the next one is being drawn."""

    def draw(step: int) -> Batch:
        return stage.batch(np.random.default_rng(_seed(stage, place, step)))

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw, first)
        for step in range(first, stage.schedule.steps):
            batch = coming.result()
            coming = pool.submit(draw, step + 1)
            yield step, {name: _moved(value, place.device) for name, value in batch.items()}


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value


def _seed(stage: Stage, place: Workplace, step: int) -> int:
    return zlib.crc32(f"{place.seed} {stage.name} {step}".encode())


def _save(parts: dict[str, Any], step: int, path: Path) -> None:
    draft = path.with_suffix(".draft")
    torch.save({"step": step} | {name: part.state_dict() for name, part in parts.items()}, draft)
    draft.rename(path)


def _resume(parts: dict[str, Any], path: Path) -> int:
    """Restore the state; return the first step."""
    if not path.exists():
        return 0
    states = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(states[name])
    return states["step"]


def _write_sheet(stage: Stage, path: Path) -> None:
    with torch.no_grad():
        sheet = stage.sheet()
    if sheet is not None:
        cv2.imwrite(str(path), sheet[..., ::-1])


class _Curve:
    """The losses by step, in a file that a resumed run continues at its ``first`` step."""

    def __init__(self, path: Path, first: int) -> None:
        rows = path.read_text(encoding="utf-8").splitlines() if first and path.exists() else []
        self._file = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerows(row for row in csv.reader(rows) if int(row[0]) < first)

    def __enter__(self) -> "_Curve":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def record(self, step: int, losses: dict[str, torch.Tensor]) -> dict[str, str]:
        """Write one row and return it for a progress bar."""
        shown = {name: f"{value.item():.4f}" for name, value in losses.items()}
        self._rows.writerow([step, *(f"{name}={value}" for name, value in shown.items())])
        self._file.flush()
        return shown
