"""From pictures to scores, and from scores to a row of the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from miniature.world.palette import CLOTHS, SKIES, name_of

from .cases import Case
from .measures import Sight, background_colour, clothes_colour, cosines, depth_correlation, keypoint_error

OTHERS = 19
"""Among so many others the right person has to come first."""


@dataclass(frozen=True)
class Score:
    """One picture's. ``clothes`` and ``background``: whether the colour is right; None where it cannot be said."""

    first: bool
    """The face is more like the face picture than like `OTHERS` others'."""
    cosine: float
    unseen_cosine: float
    """With another picture of the person, which the request did not have."""
    keypoint_error: float
    depth_correlation: float
    clothes: bool | None
    background: bool | None


@dataclass(frozen=True)
class Targets:
    """What a row must reach."""

    first: float = 0.9
    keypoint_error: float = 0.05
    depth_correlation: float = 0.9
    clothes: float = 0.9


@dataclass(frozen=True)
class Summary:
    """Shares of the pictures, medians of what is measured."""

    cases: int
    first: float
    cosine: float
    unseen_cosine: float
    keypoint_error: float
    depth_correlation: float
    clothes: float
    background: float

    @classmethod
    def of(cls, scores: Sequence[Score]) -> "Summary":
        """Sum up at least one score."""
        return cls(
            len(scores),
            *(_summed(field.type, [getattr(score, field.name) for score in scores]) for field in fields(Score)),
        )

    def meets(self, targets: Targets) -> bool:
        """Whether every target is reached."""
        return (
            self.first >= targets.first
            and self.keypoint_error <= targets.keypoint_error
            and self.depth_correlation >= targets.depth_correlation
            and self.clothes >= targets.clothes
        )


def score(
    case: Case, image: np.ndarray, seen: Sight, wanted: Sight, unseen: Sight, faces: np.ndarray, own: int
) -> Score:
    """Score a picture (H, W, 3) uint8 RGB.

    ``unseen``: the person in a picture that the request did not have; ``faces`` (N, 512): all people's, ``own``: the
    right one's place.
    """
    clothes = clothes_colour(image, case.pose.people[0], case.pose_size_px)
    plain = case.background.kind == "plain"
    likeness = _likeness(seen, faces, own)
    return Score(
        first=bool(likeness[0] > likeness[1:].max()),
        cosine=float(likeness[0]),
        unseen_cosine=_cosine(seen, unseen),
        keypoint_error=keypoint_error(seen, wanted),
        depth_correlation=depth_correlation(seen, wanted),
        clothes=None if clothes is None else clothes == name_of(case.clothes.cloth, CLOTHS),
        background=background_colour(image) == name_of(case.background.sky, SKIES) if plain else None,
    )


def _likeness(seen: Sight, faces: np.ndarray, own: int) -> np.ndarray:
    """Return cosines: of the right person, then of the `OTHERS` next to it; no face is like nobody."""
    chosen = np.arange(own, own + OTHERS + 1) % len(faces)
    return np.full(len(chosen), -1.0) if seen.embedding is None else cosines(seen.embedding, faces[chosen])


def _cosine(seen: Sight, other: Sight) -> float:
    if seen.embedding is None or other.embedding is None:
        return -1.0
    return float(cosines(seen.embedding, other.embedding[None])[0])


def _summed(kind: object, values: list) -> float:
    known = [value for value in values if value is not None]
    summary: Callable[[list], np.floating] = np.mean if "bool" in str(kind) else np.median
    return float(summary(known)) if known else float("nan")
