"""Each folder imports only from those below it: docs/architecture.md's table, bottom up."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = (
    {"insta_depth_shared"},
    {"insta_depth"},
    {"denoising", "face_finding", "prompt_encoding"},
    {"insta_depth_gateway"},
    {"export"},
    {"deploy"},
    {"miniature"},
    {"benchmarks"},
)
"""Packages from the bottom up; the third are those of the Python models."""
FOLDERS = {
    "insta_depth_shared": 0,
    "client": 1,
    "model_repository": 2,
    "gateway": 3,
    "export": 4,
    "deploy": 5,
    "miniature": 6,
    "benchmarks": 7,
}


def imported(source: Path) -> Iterator[str]:
    """Yield the top-level packages that a file imports by name."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_import_runs_upward(folder: str) -> None:
    above = set().union(*FLOORS[FOLDERS[folder] + 1 :])
    upward = {
        f"{source.relative_to(ROOT)} imports {package}"
        for source in (ROOT / folder).rglob("*.py")
        for package in set(imported(source)) & above
    }
    assert not upward


def test_the_table_names_every_folder_with_code() -> None:
    folders = {source.relative_to(ROOT).parts[0] for source in ROOT.glob("[a-z]*/**/*.py")}
    assert folders - {"build", "tests"} == set(FOLDERS)
