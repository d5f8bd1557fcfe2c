"""The figures in the documents are those of the records beside them."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks import publish, records
from benchmarks.publish import LINES, last_of_each, with_figures
from benchmarks.records import Record

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PUBLISHED = list(records.load(DOCS / publish.FOLDER / "records.jsonl"))
PAGES = [DOCS / "measured.md", ROOT / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_have_the_figures_of_the_records(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_figures(text, PUBLISHED) == text
    assert sum(f"| {line.what} |" in text for line in LINES) >= 4


def test_measured_has_every_figure() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    measured = {record.benchmark for record in PUBLISHED}
    assert [line.what for line in LINES if line.benchmark in measured and f"| {line.what} |" not in text] == []
    assert "| ? |" not in text


def test_another_figure_changes_the_row_and_nothing_else() -> None:
    def changed(record: Record) -> Record:
        measured = record.measured | ({"rows_share": 0.789} if record.benchmark == "batching" else {})
        return dataclasses.replace(record, measured=measured)

    text = PAGES[0].read_text(encoding="utf-8")
    other = with_figures(text, [changed(record) for record in PUBLISHED])
    differ = [line for line, old in zip(other.splitlines(), text.splitlines(), strict=True) if line != old]
    assert len(differ) == 1
    assert "| 0.79 (target" in differ[0]


def test_the_report_and_its_plots_are_those_of_the_records(tmp_path: Path) -> None:
    source, readme = tmp_path / "records.jsonl", tmp_path / "README.md"
    for record in PUBLISHED:
        records.append(source, record)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "measured.md").write_text(f"| {LINES[0].what} | ? | ? |\n", encoding="utf-8")
    readme.write_text("nothing measured\n", encoding="utf-8")
    publish.publish(source, docs, readme)
    published = DOCS / publish.FOLDER
    names = {path.name for path in (docs / publish.FOLDER).iterdir()}
    assert names == {path.name for path in published.iterdir()}
    assert {"report.md", "records.jsonl"} < names
    for name in ("report.md", "records.jsonl"):
        assert (docs / publish.FOLDER / name).read_text("utf-8") == (published / name).read_text("utf-8")
    assert (docs / "measured.md").read_text("utf-8") != f"| {LINES[0].what} | ? | ? |\n"


def test_a_row_counts_by_its_last_record_that_did_not_fail() -> None:
    newer = dataclasses.replace(PUBLISHED[0], started_at="2100-01-01")
    failed = dataclasses.replace(newer, error="no server", measured={})
    assert last_of_each([*PUBLISHED, newer, failed])[0] is newer


def test_a_row_that_was_not_measured_keeps_its_text_and_is_named(tmp_path: Path) -> None:
    first = PUBLISHED[0]
    line = next(line for line in LINES if line.benchmark == first.benchmark)
    assert with_figures(f"| {line.what} | as before | x |\n", PUBLISHED[1:]) == f"| {line.what} | as before | x |\n"
    source, readme, docs = tmp_path / "records.jsonl", tmp_path / "README.md", tmp_path / "docs"
    for record in PUBLISHED[1:]:
        records.append(source, record)
    docs.mkdir()
    for page in (readme, docs / "measured.md"):
        page.write_text("nothing\n", encoding="utf-8")
    assert f"{first.benchmark}: {first.row}" in publish.publish(source, docs, readme)
