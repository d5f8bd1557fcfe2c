"""What a stranger reads first is true: licence, version, links, recipes."""

import re
from pathlib import Path

import pytest
from insta_depth import __version__

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("client", "gateway", "miniature/weights")),
]


def test_the_packages_licence_is_the_repositorys() -> None:
    for package in ("client", "gateway"):
        assert (ROOT / package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_changelogs_first_version_is_the_packages() -> None:
    assert re.findall(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text())[0] == __version__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_make_targets_of_contributing_exist() -> None:
    named = set(re.findall(r"(?m)^make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert {"check", "fix", "test", "test-unit"} <= named
    assert named <= set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "NOTICE", "docs/extending.md"])
def test_named_paths_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    quoted = re.findall(r"`([a-z_]+/[\w./-]*)`", text)
    named = re.findall(
        r"(?m)(?:→ |, |\bin )((?:model_repository|insta_depth_shared|export|miniature|tests)/[\w./-]+)", text
    )
    assert quoted or named
    for path in (*quoted, *(each.rstrip(".,") for each in named)):
        below = ("", "model_repository/insta_depth_stream/1", "gateway/insta_depth_gateway", "tests", "deploy")
        assert any((ROOT / folder / path).exists() for folder in below), path
