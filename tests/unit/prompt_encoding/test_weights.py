"""The weight syntax, as text in and (text, weight) pairs out."""

import pytest
from prompt_encoding.weights import Segment, parse_weights

from insta_depth_shared.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a red coat", [("a red coat", 1.0)]),
        ("a (red:1.2) coat", [("a ", 1.0), ("red", 1.2), (" coat", 1.0)]),
        ("(red: 1.2 )", [("red", 1.2)]),
        ("(red:.5)(blue:2)", [("red", 0.5), ("blue", 2.0)]),
        ("(red:0)", [("red", 0.0)]),
        ("(a red coat, (gold:1.5):1.2) b", [("a red coat, ", 1.2), ("gold", 1.8), (" b", 1.0)]),
        ("((a:1.5):2)", [("a", 3.0)]),
        ("(a:1.0) b", [("a b", 1.0)]),
        ("(a:1.2)(b:1.2)", [("ab", 1.2)]),
        ("(a: b:1.2)", [("a: b", 1.2)]),
        ("(:1.2) a", [(" a", 1.0)]),
    ],
)
def test_explicit_weights_are_read(text: str, expected: list[tuple[str, float]]) -> None:
    parsed = [(segment.text, pytest.approx(segment.weight)) for segment in parse_weights(text)]
    assert parsed == expected


@pytest.mark.parametrize(
    "text",
    [
        "(red)",
        "((red))",
        "(",
        ")",
        "()",
        ")(",
        "a (",
        ":-) (red",
        "red:1.2",
        "[red:1.2]",
        "(red:)",
        "(red:high)",
        "a \\ b",
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert [(segment.text, segment.weight) for segment in parse_weights(text)] == [(text, 1.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\(red:1.2\)", [("(red:1.2)", 1.0)]),
        (r"red \(16:9\)", [("red (16:9)", 1.0)]),
        (r"(a \(b\):1.5)", [("a (b)", 1.5)]),
    ],
)
def test_a_backslash_makes_a_parenthesis_text(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(segment.text, segment.weight) for segment in parse_weights(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a (b:1.2))", [("(a ", 1.0), ("b", 1.2), (")", 1.0)]),
        ("((ratio 1:2:1.2))", [("(", 1.0), ("ratio 1:2", 1.2), (")", 1.0)]),
        ("(a:1.2", [("(a:1.2", 1.0)]),
        ("(a (b:1.2)", [("(a ", 1.0), ("b", 1.2)]),
    ],
)
def test_plain_parentheses_around_a_weight_stay(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(segment.text, segment.weight) for segment in parse_weights(text)] == expected


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("(red:3.1)", "3.1"),
        ("(red:-0.5)", "-0.5"),
        ("((red:2):2)", "4"),
        ("(at 10:30)", "30"),
        (f"(a:{9:0<400})", "inf"),
    ],
)
def test_a_weight_out_of_range_is_named_with_its_limits(text: str, weight: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"^\[INVALID_INPUT\] text: the weight {weight} of '.*' is not within 0 to 3"
    ):
        parse_weights(text)


def test_deep_nesting_takes_linear_time() -> None:
    depth = 20_000
    assert parse_weights("(" * depth + "a" + ":1)" * depth) == [Segment("a", 1.0)]
    assert parse_weights("(" * depth) == [Segment("(" * depth, 1.0)]
