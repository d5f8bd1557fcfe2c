"""Capacity on paper: simulation and closed formulas agree, page and command agree, bad input is named."""

import json
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import capacity
from benchmarks.capacity_inputs import Figure, figure, step_of
from benchmarks.capacity_model import CapacityError, Work, fleet, queue
from benchmarks.records import Record, append

PAGE = Path(__file__).parents[3] / "docs" / "capacity.md"
WORK = Work(steps=10, step_s=0.084, row_share=0.9, fixed_s=0.1, max_requests=8)
ASKED = ["--images-per-s", "5", "--p95-latency-s", "4"]


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.7])
@pytest.mark.parametrize("work", [replace(WORK, row_share=1.0), replace(WORK, max_requests=1)])
def test_equal_requests_one_after_the_other_wait_as_pollaczek_and_khinchine_say(work: Work, load: float) -> None:
    each = queue(work, load * work.saturation)
    waiting_s = load / (2 * (1 - load)) * work.alone_s
    assert each.mean_latency_s == pytest.approx(work.alone_s + waiting_s, rel=0.1)
    assert each.rows_per_call == pytest.approx(2)


def test_sharing_costs_nothing_where_rows_do() -> None:
    work = replace(WORK, row_share=0.0, fixed_s=0.0)
    each = queue(work, 0.5 * work.saturation)
    assert each.latency_s(50) == pytest.approx(1.05 * work.alone_s, rel=0.02), "half a step until the next call"
    assert each.rows_per_call > 6


def test_an_idle_gpu_takes_a_picture_s_own_time() -> None:
    assert WORK.alone_s == pytest.approx(10 * 0.084 + 0.1)
    assert queue(WORK, 1e-6).mean_latency_s == pytest.approx(WORK.alone_s, rel=1e-4)


def test_a_gpu_is_saturated_when_every_step_is_shared_by_all_that_are_admitted() -> None:
    together_s = 10 * 0.084 * (0.1 + 0.9 * 8) + 8 * 0.1
    assert WORK.saturation == pytest.approx(8 / together_s)
    with pytest.raises(CapacityError, match="95% of what a GPU can make"):
        queue(WORK, 0.96 * WORK.saturation)


@pytest.mark.slow
def test_the_fleet_is_the_smallest_that_keeps_the_target() -> None:
    found = fleet(WORK, images_per_s=5, p95_s=4, spare=1)
    assert found.gpus == found.needed + 1
    assert found.each.latency_s(95) <= 4
    assert queue(WORK, 5 / (found.needed - 1)).latency_s(95) > 4


@pytest.mark.slow
def test_a_smaller_admission_limit_is_met_more_often() -> None:
    limits = [queue(replace(WORK, max_requests=limit), 0.8).refused_share for limit in (2, 8)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > 0.1


@pytest.mark.slow
def test_the_page_s_example_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    command, output = re.findall(r"```(?:sh|text)\n(.*?)```", PAGE.read_text(), re.DOTALL)[:2]
    words = shlex.split(command.replace("\\\n", " "))
    assert words[1:3] == ["-m", "benchmarks.capacity"]
    assert capacity.main(words[3:]) == 0
    assert capsys.readouterr().out == output


def test_a_target_below_one_picture_s_time_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert capacity.main([*ASKED[:2], "--p95-latency-s", "4", "--step-ms", "500", "--fixed-ms", "100"]) == 1
    assert capsys.readouterr().err == "one picture alone takes 5.1 s, above the target 4 s\n"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (["--images-per-s", "0"], "the number has to be above 0"),
        (["--step-ms", "-60"], "the number has to be above 0"),
        (["--step-ms", "nan"], "the number has to be above 0"),
        (["--step-ms", "fast"], "'fast' is not a number"),
        (["--step-ms", "60:guessed"], "after the colon one of measured, stated, estimated is expected"),
        (["--row-share", "1.5"], "a share is at most 1"),
        (["--max-requests", "0"], "a whole number of at least 1"),
        (["--spare", "-1"], "a whole number of at least 0"),
    ],
)
def test_bad_input_is_named(bad: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        capacity.main([*ASKED, *(f"{bad[0]}={bad[1]}",)])
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_every_figure_is_shown_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    assert capacity.main([*ASKED, "--step-ms", "60:measured:our H100"]) == 0
    inputs = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert any("60 (measured, our H100)" in line for line in inputs)
    assert all(re.search(r"\((measured|stated|estimated)", line) for line in inputs[:6])


def test_a_bare_figure_is_stated() -> None:
    assert figure("60") == Figure(60, "stated")


def record(row: str, step_ms: float | None, networks: str = "full", day: str = "2026-11-22") -> Record:
    measured: dict[str, float | int | str] = {} if step_ms is None else {"step_ms": step_ms}
    conditions = {"step": {"device": "NVIDIA H100", "networks": networks}}
    return Record("gpu-check", row, f"{day}T12:00:00+00:00", 1.0, measured, "", None, "", conditions)


def test_the_step_comes_from_the_fastest_full_size_row_through_triton(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for made in (
        record("eager", 10.0),
        record("triton-compiled", 70.0),
        record("triton-tensorrt", 40.0, day="2026-11-21"),
        record("triton-tensorrt", 50.0),
        record("triton-onnxruntime", None),
        record("triton-compiled", 1.0, networks="tiny"),
    ):
        append(path, made)
    assert step_of(path) == Figure(50.0, "measured", "gpu-check, triton-tensorrt on NVIDIA H100, 2026-11-22")


def test_records_without_such_a_row_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(asdict(record("triton-compiled", 1.0, networks="tiny"))) + "\n")
    with pytest.raises(CapacityError, match="no full-size step through Triton"):
        step_of(path)
    with pytest.raises(CapacityError, match="there is no such file"):
        step_of(tmp_path / "elsewhere.jsonl")
