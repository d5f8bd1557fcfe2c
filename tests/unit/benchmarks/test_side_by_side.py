"""What the comparison of whole requests sends, in which order, and what it makes of the times."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from benchmarks.options import Options
from benchmarks.side_by_side import in_turns, summary
from benchmarks.sides import request_of

ROOT = Path(__file__).parents[3]
OPTIONS = Options(ROOT, ROOT / "miniature" / "weights" / "pictures", ROOT)


def test_no_two_requests_share_anything_that_a_cache_could_answer() -> None:
    first, second = (request_of(OPTIONS, 10, number) for number in (1, 2))
    for name in ("prompt", "face_image", "pose_image", "seed"):
        assert first[name] != second[name]
    pictures = [Image.open(io.BytesIO(request["face_image"])) for request in (first, second)]
    assert ImageChops.difference(*pictures).getbbox() == (0, 0, 1, 1)


def test_every_round_begins_with_another_side() -> None:
    asked: list[tuple[str, int]] = []
    sides = {name: (lambda request, name=name: asked.append((name, request["seed"])) or b"") for name in "abc"}
    times_s = in_turns(sides, [{"seed": seed} for seed in range(3)])
    assert [name for name, _ in asked] == list("abcbcacab")
    assert [seed for _, seed in asked] == [0] * 3 + [1] * 3 + [2] * 3
    assert {name: len(times) for name, times in times_s.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_of_the_same_round_and_rates_of_the_median() -> None:
    times_s = {"eager": [2.0, 4.0, 2.0], "engines": [1.0, 2.0, 1.0], "service": [1.0, 2.4, 1.2]}
    measured = summary(times_s, gflop=60, matmul_gflops=100)
    assert measured["service_to_eager"] == pytest.approx(0.6)
    assert measured["service_to_engines"] == pytest.approx(1.2)
    assert measured["service_gflops"] == pytest.approx(50)
    assert measured["service_share_of_matmul"] == pytest.approx(0.5)
    assert "compiled_to_eager" not in measured
