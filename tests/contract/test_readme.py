"""What the README and docs/ promise is what the code has: attributes, ranges, defaults, commands."""

import re
import shlex
from pathlib import Path

import pytest
from denoising.schedulers import SCHEDULERS
from insta_depth._cli import _parser as client_parser

from export.__main__ import _parser as export_parser
from insta_depth_shared.attributes import ATTRIBUTES, DEFAULTS

ROOT = Path(__file__).parents[2]
README, API, GPU = ((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/api.md", "docs/gpu.md"))


def _blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def _rows() -> dict[str, list[str]]:
    """The table of attributes: name → its cells."""
    table = API.split("## Attributes")[1].split("\n\n")[1]
    rows = {}
    for line in table.splitlines()[2:]:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows |= {each.strip(" `"): cells for each in name.split(",")}
    return rows


def test_every_attribute_is_documented():
    assert set(_rows()) == {attribute.name for attribute in ATTRIBUTES}


@pytest.mark.parametrize("attribute", [a for a in ATTRIBUTES if abs(a.maximum) < float("inf")], ids=lambda a: a.name)
def test_documented_ranges_are_the_servers(attribute):
    low, high = re.split(r"(?<=\d)–", _rows()[attribute.name][1])
    assert (float(low.replace("−", "-")), float(high)) == (attribute.minimum, attribute.maximum)


NUMBERS = [row.name for row in ATTRIBUTES if row.kind in ("whole", "number") and row.default is not None]


@pytest.mark.parametrize("name", NUMBERS)
def test_documented_defaults_are_the_servers(name):
    assert float(_rows()[name][2].replace("−", "-")) == DEFAULTS[name]


def test_every_scheduler_is_documented():
    assert set(re.findall(r"`(\w+)`", _rows()["scheduler"][1])) == set(SCHEDULERS)


def test_the_make_targets_exist():
    named = set(re.findall(r"(?m)^make ([a-z-]+)", "\n".join(_blocks("sh"))))
    assert {"demo", "test", "serve"} <= named
    assert named <= set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))


def test_the_commands_parse():
    lines = " ".join(_blocks("sh")).replace("\\\n", " ").splitlines()
    (generate,) = [line for line in lines if "insta-depth generate" in line]
    assert client_parser().parse_args(shlex.split(generate)[1:]).prompt
    for command in (line for line in lines if "-m export" in line):
        export_parser().parse_args(shlex.split(command, comments=True)[3:])
    usage, *_ = [
        line for line in " ".join(_blocks("sh", GPU)).replace("\\\n", " ").splitlines() if "-m export onnx" in line
    ]
    arguments = re.sub(r"[\[\]]", "", usage).replace("fp32|fp16|bf16", "fp16").replace("<", "").replace(">", "")
    assert export_parser().parse_args(shlex.split(arguments)[3:]).min_side == 1024


def test_the_way_to_tensorrt_parses():
    section = GPU.split("## From the published weights")[1]
    commands = re.findall(r"(?m)^(?:\.venv/bin/python -m export|docker run .* insta-depth-export) (.*)$", section)
    assert [command.split()[0] for command in commands] == ["fetch", "onnx", "tensorrt", "tensorrt", "verify"]
    for command in commands:
        export_parser().parse_args(shlex.split(command))


def test_the_python_compiles():
    blocks = _blocks("python", API)
    assert blocks
    for block in blocks:
        compile(block, "docs/api.md", "exec")


def test_the_folders_exist():
    table = README.split("| folder |")[1].split("\n\n")[0]
    for cell in re.findall(r"(?m)^\| ([^|]+) \|", table):
        for path in re.findall(r"`([^`]+)`", cell):
            assert (ROOT / path).exists(), path
