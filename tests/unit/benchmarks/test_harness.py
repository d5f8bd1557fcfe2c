"""Each row runs in a process of its own, and leaves a record whether it worked or not."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks import harness, records, report, rows
from benchmarks.conditions import conditions
from benchmarks.options import Options
from benchmarks.records import Record, Target

RECORD = Record(
    benchmark="batching",
    row="8 requests",
    started_at="2026-01-01T00:00:00+00:00",
    took_s=12.3,
    measured={"rows_share": 0.987654, "calls": 12},
    target="rows_share ≥ 0.85",
    is_met=True,
    error="",
    conditions={"processor": "a | b", "cores": 2, "packages": {"numpy": "2.0"}, "gpus": []},
)
FAILED = dataclasses.replace(RECORD, row="9 requests", measured={}, is_met=None, error="no server | no rows")


def row_that(monkeypatch: pytest.MonkeyPatch, script: str) -> rows.Row:
    """A row whose child is ``script``."""
    monkeypatch.setattr(harness, "_MODULE", ["-c", script])
    return rows.Row("batching", "any", lambda options: {}, Target("rows_share", at_least=0.85))


def test_what_a_child_measured_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_that(monkeypatch, "print('chatter'); print('measured: {\"rows_share\": 0.9}'); print('more')")
    record = harness.run(row, [], {"cores": 2})
    assert (record.measured, record.is_met, record.error) == ({"rows_share": 0.9}, True, "")
    assert record.target == "rows_share ≥ 0.85"


def test_a_missed_target_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    record = harness.run(row_that(monkeypatch, "print('measured: {\"rows_share\": 0.8}')"), [], {})
    assert record.is_met is False


def test_what_a_child_is_doing_is_passed_on_and_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from benchmarks.progress import tell; tell('half'); print('measured: {\"rows_share\": 0.9}'); tell('all')"
    doing: list[str] = []
    record = harness.run(row_that(monkeypatch, script), [], {}, doing.append)
    assert doing == ["half", "all"]
    assert record.is_met is True


@pytest.mark.parametrize("script", ["raise RuntimeError('no server')", "import os; print('no server'); os._exit(3)"])
def test_a_child_that_fails_is_recorded_with_its_reason(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    record = harness.run(row_that(monkeypatch, script), [], {})
    assert record.is_met is None
    assert "no server" in record.error


def test_the_child_says_what_the_row_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    row = rows.Row("b", "r", lambda options: {"repeats": options.repeats}, Target("repeats"))
    harness.measure_here(row, Options(tmp_path, tmp_path, tmp_path, repeats=4))
    assert capsys.readouterr().out == 'measured: {"repeats": 4}\n'


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("x", at_least=0.5), True),
        (Target("x", at_least=0.6), False),
        (Target("x", at_most=0.5), True),
        (Target("x", at_most=0.4), False),
    ],
)
def test_targets_are_limits_that_may_be_reached(target: Target, met: bool) -> None:
    assert target.is_met({"x": 0.5}) is met


def test_records_come_back_as_they_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "records.jsonl"
    for record in (RECORD, FAILED):
        records.append(path, record)
    assert list(records.load(path)) == [RECORD, FAILED]


def test_the_report_holds_conditions_and_every_row() -> None:
    page = report.markdown([RECORD, FAILED])
    assert "- cores: 2" in page
    assert "- packages: numpy 2.0" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert table[0] == "| row | target | verdict | rows_share | calls | took |"
    assert table[2] == "| 8 requests | rows_share ≥ 0.85 | met | 0.9877 | 12 | 12.3 s |"
    assert "failed: no server" in table[3]
    assert len({line.count("|") for line in table}) == 1


def test_a_row_without_a_target_has_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    row = dataclasses.replace(row_that(monkeypatch, "print('measured: {\"rows_share\": 0.9}')"), target=None)
    record = harness.run(row, [], {"cores": 2})
    assert record.is_met is None
    assert "| any |  |  | 0.9 |" in report.markdown([record])


def test_plots_are_beside_the_report_and_in_it(tmp_path: Path) -> None:
    measured: records.Measured = {"eager_s": 2.0, "engines_s": 1.0, "service_s": 1.0}
    report.write(tmp_path / "new", [dataclasses.replace(RECORD, benchmark="side-by-side", measured=measured)])
    assert "](side-by-side.png)" in (tmp_path / "new" / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "new" / "side-by-side.png").stat().st_size > 1000


def test_there_is_a_table_a_benchmark() -> None:
    other = dataclasses.replace(RECORD, benchmark="overhead")
    tables = report.tables([RECORD, FAILED, other])
    assert [(table.title, len(table.columns)) for table in tables] == [("batching", 3), ("overhead", 2)]
    assert list(tables[0].columns[1].cells)[:3] == ["8 requests", "rows_share ≥ 0.85", "met"]


def test_rows_are_found_by_their_names_alone() -> None:
    names = [(row.benchmark, row.name) for row in rows.ROWS]
    assert len(set(names)) == len(names)
    assert all(rows.named(*name) is row for name, row in zip(names, rows.ROWS, strict=True))


def test_the_conditions_name_machine_versions_and_commit() -> None:
    found = conditions()
    assert found["cores"] >= 1
    assert found["processor"]
    assert "numpy" in found["packages"]
