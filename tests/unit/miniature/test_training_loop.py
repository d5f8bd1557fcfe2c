import numpy as np
import pytest
import torch
from torch import nn

from miniature.training import loop
from miniature.training.loop import Schedule, Stage, Workplace, train

pytestmark = pytest.mark.slow

STEPS = 12


class Line(Stage):
    """Learns y = 2 x from noise that it draws, some of it in the loss itself; may be interrupted."""

    name = "line"
    schedule = Schedule(STEPS, batch=8, learning_rate=0.1)

    def __init__(self, interrupted_at: int | None = None) -> None:
        self.network = nn.Linear(1, 1)
        nn.init.zeros_(self.network.weight)
        nn.init.zeros_(self.network.bias)
        self.interrupted_at = interrupted_at
        self.seen = []

    @property
    def trained(self):
        return self.network

    def batch(self, rng):
        return {"x": torch.from_numpy(rng.normal(size=(self.schedule.batch, 1)).astype(np.float32)), "note": ["a list"]}

    def losses(self, batch):
        if len(self.seen) == self.interrupted_at:
            raise KeyboardInterrupt
        self.seen.append(batch["x"])
        noisy = batch["x"] + 0.1 * torch.randn_like(batch["x"])
        return {"error": (self.network(noisy).float() - 2 * batch["x"]).square().mean()}

    def sheet(self):
        return np.full((4, 4, 3), 200, np.uint8)


@pytest.fixture
def place(tmp_path):
    return Workplace(tmp_path, seed=0, device=torch.device("cpu"))


def ended(place, stage):
    train(stage, place)
    return stage.network.weight.item(), stage.network.bias.item()


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(place, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_SAVED_EVERY_S", 0)
    (tmp_path / "other").mkdir()
    whole = ended(Workplace(tmp_path / "other", 0, place.device), Line())
    with pytest.raises(KeyboardInterrupt):
        train(Line(interrupted_at=5), place)
    assert (tmp_path / "line.unfinished.pt").exists()
    rest = Line()
    assert ended(place, rest) == whole
    assert len(rest.seen) == STEPS - 5
    assert not (tmp_path / "line.unfinished.pt").exists()


def test_what_is_finished_is_loaded_and_frozen(place):
    first, second = Line(), Line()
    assert ended(place, first) == ended(place, second) != (0, 0)
    assert second.seen == []
    assert not any(parameter.requires_grad for parameter in second.network.parameters())


def test_what_an_earlier_stage_has_frozen_is_trained_where_a_stage_says_so(place, tmp_path):
    (tmp_path / "other").mkdir()
    frozen = Line()
    frozen.network.requires_grad_(False)
    assert ended(place, frozen) == ended(Workplace(tmp_path / "other", 0, place.device), Line())


def test_another_seed_is_another_run(place, tmp_path):
    (tmp_path / "other").mkdir()
    assert ended(place, Line()) != ended(Workplace(tmp_path / "other", 1, place.device), Line())


def test_a_curve_and_a_sheet_are_left_behind(place, tmp_path):
    train(Line(), place)
    assert (tmp_path / "line.csv").read_text().startswith("0,error=")
    assert (tmp_path / "line.png").exists()


def test_a_curve_has_each_step_once_after_an_interruption(place, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_RECORDED_EVERY", 1)
    monkeypatch.setattr(loop, "_SAVED_EVERY_S", 0)
    monkeypatch.setattr(loop, "_save", save_only_at(5, loop._save))
    with pytest.raises(KeyboardInterrupt):
        train(Line(interrupted_at=9), place)
    train(Line(), place)
    assert [line.split(",")[0] for line in (tmp_path / "line.csv").read_text().splitlines()] == [
        *map(str, range(STEPS))
    ]


def save_only_at(wanted, save):
    return lambda parts, step, path: save(parts, step, path) if step == wanted else None


def test_what_comes_next_starts_the_same_after_training_and_after_loading(place):
    after = []
    for _ in range(2):
        torch.manual_seed(3)
        train(Line(), place)
        after.append(torch.rand(4))
    assert torch.equal(*after)


@pytest.mark.parametrize(("capability", "dtype"), [("AVX2", torch.float32), ("AVX512", torch.bfloat16)])
def test_only_a_processor_with_wide_vectors_computes_in_bfloat16(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with loop.autocast(torch.device("cpu")):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == dtype
