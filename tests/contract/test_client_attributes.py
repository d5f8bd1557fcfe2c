"""The client sends what the server's models take: names and datatypes of every attribute."""

from dataclasses import Field, fields

import pytest
from insta_depth import GenerationRequest

from insta_depth_shared.attributes import ATTRIBUTES


def test_the_clients_attributes_are_the_servers() -> None:
    sent = {each.name: triton_name(each.metadata["datatype"]) for each in fields(GenerationRequest)}
    assert sent | {"base64": "TYPE_BOOL"} == {attribute.name: attribute.triton_type for attribute in ATTRIBUTES}


@pytest.mark.parametrize("attribute", fields(GenerationRequest), ids=lambda attribute: attribute.name)
def test_the_help_of_an_option_starts_as_the_servers_row_does(attribute: Field[object]) -> None:
    (about,) = (row.about for row in ATTRIBUTES if row.name == attribute.name)
    assert attribute.metadata["about"].startswith(about)


def triton_name(datatype: str) -> str:
    """Return the name in a ``config.pbtxt`` of a datatype on the wire."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
