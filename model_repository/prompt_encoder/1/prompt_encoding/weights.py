r"""The weight syntax of prompts: ``a (red:1.2) coat``.

Only parentheses that end in a colon and a number carry a weight; all others are plain text.
Weights of nested groups multiply. ``\(`` and ``\)`` are always text, so that ``\(16:9\)`` is no weight.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from insta_depth_shared.errors import InvalidInput

MIN_WEIGHT = 0.0
MAX_WEIGHT = 3.0

_PARTS = re.compile(r"\\[()]|[()]|[^\\()]+|\\")
_WEIGHT = re.compile(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$")


@dataclass(frozen=True)
class Segment:
    """Text with one weight."""

    text: str
    weight: float


@dataclass
class _Group:
    """The content of a pair of parentheses, in order: texts and groups; the first text is the opening parenthesis."""

    members: "list[str | _Group]"
    weight: float = 1.0


def parse_weights(text: str) -> list[Segment]:
    """Split ``text`` into segments of one weight each; neighbours differ in weight."""
    return _joined(_checked(_flatten(_parse(text))))


def _parse(text: str) -> _Group:
    open_groups = [_Group([])]
    for part in _PARTS.findall(text):
        if part == "(":
            open_groups.append(_Group([part]))
        elif part == ")" and len(open_groups) > 1:
            _close_innermost(open_groups)
        else:
            open_groups[-1].members.append(part[-1] if part in (r"\(", r"\)") else part)
    while len(open_groups) > 1:
        group = open_groups.pop()
        open_groups[-1].members.append(group)
    return open_groups[0]


def _close_innermost(open_groups: list[_Group]) -> None:
    """Apply the group's weight and drop its parentheses, if it ends in a weight; else keep them as text."""
    group = open_groups.pop()
    last = group.members[-1]
    weight = _WEIGHT.search(last) if isinstance(last, str) else None
    if isinstance(last, str) and weight:
        group.weight = float(weight[1])
        group.members[0] = ""
        group.members[-1] = last[: weight.start()]
    else:
        group.members.append(")")
    open_groups[-1].members.append(group)


def _flatten(root: _Group) -> Iterator[Segment]:
    """Not recursive, since a text may nest as deeply as it is long."""
    pending: list[tuple[str | _Group, float]] = [(root, 1.0)]
    while pending:
        member, weight = pending.pop()
        if isinstance(member, str):
            yield Segment(member, weight)
        else:
            pending += [(inner, weight * member.weight) for inner in reversed(member.members)]


def _checked(segments: Iterable[Segment]) -> Iterator[Segment]:
    for segment in segments:
        if segment.text and not MIN_WEIGHT <= segment.weight <= MAX_WEIGHT:
            raise InvalidInput(
                f"text: the weight {segment.weight:g} of {segment.text[:40]!r} is not within "
                rf"{MIN_WEIGHT:g} to {MAX_WEIGHT:g}; write \( and \) where no weight is meant"
            )
        yield segment


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    filled = (segment for segment in segments if segment.text)
    by_weight = groupby(filled, key=lambda segment: segment.weight)
    return [Segment("".join(segment.text for segment in group), weight) for weight, group in by_weight]
