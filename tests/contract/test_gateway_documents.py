"""The gateway has what docs/gateway.md and the client say of it: paths, statuses, commands, metrics."""

import re
import shlex
from pathlib import Path

import pytest
from insta_depth._cli import COMMANDS_GROUP, GATEWAY_COMMANDS, _parser
from insta_depth_gateway.errors import STATUS_BY_CODE
from insta_depth_gateway.observability import Metrics
from insta_depth_gateway.openapi import document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_of_statuses_is_the_codes():
    rows = re.findall(r"(?m)^\| (\d{3}) \| (.*?) \|", PAGE)
    table = {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert table == STATUS_BY_CODE


def test_the_paths_are_the_documents():
    named = set(re.findall(r"`(GET|POST) (/[\w/.-]*)`", PAGE)) - {("GET", "/"), ("GET", "/openapi.json")}
    had = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert named == had


def test_the_client_knows_the_commands_that_the_gateway_adds():
    section = (ROOT / "gateway" / "pyproject.toml").read_text().split(f'[project.entry-points."{COMMANDS_GROUP}"]')[1]
    assert re.findall(r"(?m)^(\w+) = ", section.split("\n[")[0]) == list(GATEWAY_COMMANDS)


def commands() -> list[str]:
    lines = "\n".join(blocks("sh")).splitlines()
    return [line for line in lines if "insta-depth keys" in line]


@pytest.mark.parametrize("command", commands())
def test_the_commands_parse(command: str):
    words = shlex.split(re.sub(r"[\[\]]|\$\(|\)$", "", command), comments=True)
    assert callable(_parser().parse_args(words[1:]).run)


def test_there_are_commands_to_parse():
    assert len(commands()) == 5


def test_the_python_compiles():
    for block in blocks("python"):
        compile(block, "docs/gateway.md", "exec")


def test_the_metrics_exist():
    row = PAGE.split("**Metrics**")[1].split("**Pace**")[0]
    named = {f"insta_depth_gateway_{name}" for name in re.findall(r"`([a-z_]+)`", row)} - {
        "insta_depth_gateway_insta_depth_gateway_"
    }
    families = {family.name for family in Metrics().registry.collect()}
    assert {name.removesuffix("_total") for name in named} == families
