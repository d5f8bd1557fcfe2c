"""What is asked for against what is seen, on people, poses and prompts that training never drew."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality.cases import Case, draw_cases
from benchmarks.quality.evaluate import Looker, look
from benchmarks.quality.generate import make_pictures, request_of
from benchmarks.quality.scores import OTHERS, Summary

CASES = list(draw_cases(24, seed=1))
FEW = CASES[:8]
"""Enough where a mean of what is seen is compared, not a share of the cases."""
assert len(CASES) > OTHERS, "each face is compared with others'"


@dataclasses.dataclass(frozen=True)
class Control:
    """A measure, and the least that it has to be: below what ``python -m benchmarks quality`` sees."""

    measure: str
    least: float

    def of(self, summary: Summary) -> float:
        """Return the measure, larger is better."""
        value = getattr(summary, self.measure)
        return -value if self.measure == "keypoint_error" else value


IDENTITY = Control("first", 0.8)
LIKENESS = Control("cosine", 0.45)
POSE = Control("keypoint_error", -0.07)
DEPTH = Control("depth_correlation", 0.905)
CLOTHES = Control("clothes", 0.8)
BACKGROUND = Control("background", 0.8)


class Observer:
    """Makes the cases' pictures and sums up what is seen; what was asked before is not made again."""

    def __init__(self, grpc_url: str, repository: Path) -> None:
        self._grpc_url = grpc_url
        self.see = Looker(grpc_url, repository)
        self._made: dict[str, list[np.ndarray]] = {}

    def close(self) -> None:
        """Close the connection."""
        self.see.close()

    def __call__(
        self, cases: Sequence[Case] = CASES, expected: Sequence[Case] = CASES, **attributes: object
    ) -> Summary:
        """Ask as ``cases`` do, with ``attributes`` in place of their own, and look for what is ``expected``."""
        return Summary.of(look(self.see, expected, self.pictures(cases, **attributes)))

    def pictures(self, cases: Sequence[Case] = CASES, **attributes: object) -> list[np.ndarray]:
        """Return the cases' pictures, (H, W, 3) uint8 RGB."""
        requests = [request_of(case, **attributes) for case in cases]
        name = repr(requests)
        if name not in self._made:
            self._made[name] = make_pictures(self._grpc_url, requests)
        return self._made[name]
