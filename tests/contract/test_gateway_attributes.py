"""The gateway's attributes are the server's: names, ranges and choices; defaults are the documented ones."""

import re
from pathlib import Path
from typing import Any

import pytest
from insta_depth_gateway.body import GenerationBody
from insta_depth_gateway.settings import PREFIX, Settings

from insta_depth_shared.attributes import ATTRIBUTES, DEFAULTS, Attribute

PROPERTIES = GenerationBody.model_json_schema()["properties"]
DOCUMENTED = [row.name for row in ATTRIBUTES if row.is_documented and row.default is not None]
PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()


def test_the_attributes_are_the_servers():
    assert set(PROPERTIES) == {attribute.name for attribute in ATTRIBUTES}


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.name)
def test_an_attribute_takes_what_the_server_takes(attribute: Attribute):
    kind: dict[str, Any] = PROPERTIES[attribute.name]
    kind = kind.get("anyOf", [kind])[0]
    assert tuple(kind.get("enum", ())) == attribute.choices
    assert kind.get("minimum", float("-inf")) == attribute.minimum
    assert kind.get("maximum", float("inf")) == attribute.maximum
    assert kind.get("multipleOf", 1) == attribute.multiple


def test_extensions_say_so_and_documented_attributes_do_not():
    extensions = {name for name, kind in PROPERTIES.items() if kind["description"].startswith("Extension: ")}
    assert extensions == {row.name for row in ATTRIBUTES if not row.is_documented}


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.name)
def test_a_description_starts_as_the_servers_row_does(attribute: Attribute):
    description = PROPERTIES[attribute.name]["description"].removeprefix("Extension: ")
    assert description.lower().startswith(attribute.about.lower())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_defaults_are_the_servers(name: str):
    assert PROPERTIES[name]["default"] == DEFAULTS[name]


def test_every_setting_is_on_the_page_with_its_default():
    rows = dict(re.findall(rf"(?m)^\| `{PREFIX}(\w+)` \| `?([^|`]*)`? \|", PAGE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if field.default_factory is None:
            assert rows[name.upper()] == (str(field.default).lower() or "none"), name
