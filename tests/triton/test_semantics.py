"""What is asked for is what is seen, through real Triton, and it is missed once its control is cut."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.local.server import LocalTriton

from .semantics import BACKGROUND, CASES, CLOTHES, DEPTH, FEW, IDENTITY, LIKENESS, POSE, Observer

WITHOUT_FACE = {"ip_adapter_scale": 0.0, "identitynet_scale": 0.0}
WITHOUT_POSE = {"identitynet_scale": 0.0, "depth_scale": 0.0}
WITHOUT_DEPTH = {"depth_scale": 0.0}
WITHOUT_WORDS = {"prompt": "Photo of a person"}
CUTS = [
    (IDENTITY, WITHOUT_FACE),
    (LIKENESS, WITHOUT_FACE),
    (POSE, WITHOUT_POSE),
    (DEPTH, WITHOUT_DEPTH),
    (CLOTHES, WITHOUT_WORDS),
    (BACKGROUND, WITHOUT_WORDS),
]
FLAWED = "lowquality, badquality"
SWAPPED = [dataclasses.replace(case, face=other.face) for case, other in zip(CASES, CASES[1:] + CASES[:1], strict=True)]


@pytest.fixture(scope="module")
def seen(server: LocalTriton, miniature_repository: Path) -> Iterator[Observer]:
    observer = Observer(server.grpc_url, miniature_repository)
    yield observer
    observer.close()


@pytest.mark.parametrize("control", [control for control, _ in CUTS], ids=lambda control: control.measure)
def test_what_is_asked_for_is_seen(seen, control):
    assert control.of(seen()) >= control.least


@pytest.mark.long
@pytest.mark.parametrize(("control", "cut"), CUTS, ids=lambda each: getattr(each, "measure", ""))
def test_it_is_missed_where_the_control_is_cut(seen, control, cut):
    assert control.of(seen(**cut)) < control.least


@pytest.mark.long
def test_another_face_is_another_person(seen):
    assert seen(SWAPPED, expected=SWAPPED).first >= IDENTITY.least
    assert seen(SWAPPED).first < 0.3


@pytest.mark.long
@pytest.mark.parametrize(
    ("control", "scale", "values", "others"),
    [
        (LIKENESS, "ip_adapter_scale", (0.0, 0.2, 0.4), {"identitynet_scale": 0.0}),
        (LIKENESS, "identitynet_scale", (0.0, 0.4, 0.8), {"ip_adapter_scale": 0.0}),
        (DEPTH, "depth_scale", (0.0, 0.5, 1.0), {}),
    ],
    ids=str,
)
def test_more_of_a_scale_is_more_of_what_it_scales(seen, control, scale, values, others):
    measured = [control.of(seen(FEW, FEW, **{scale: value}, **others)) for value in values]
    assert np.all(np.diff(measured) > 0), measured


@pytest.mark.long
def test_more_guidance_is_more_colour(seen):
    measured = [saturation(seen.pictures(FEW, guidance_scale=value)) for value in (1.0, 2.0, 4.0)]
    assert np.all(np.diff(measured) > 0), measured


@pytest.mark.long
def test_a_negative_prompt_takes_away_what_it_says(seen):
    asked = [dataclasses.replace(case, prompt=f"{FLAWED}, {case.prompt}") for case in FEW]
    made = (seen.pictures(asked), seen.pictures(FEW), seen.pictures(FEW, negative_prompt=FLAWED))
    measured = [sharpness(pictures) for pictures in made]
    assert measured[0] < measured[1] < measured[2], measured


@pytest.mark.long
def test_the_face_acts_less_outside_its_region(seen):
    within, everywhere = (
        outside_the_face(seen, seen.pictures(FEW, **where), seen.pictures(SWAPPED[: len(FEW)], **where))
        for where in ({"enhance_face_region": True}, {"enhance_face_region": False})
    )
    assert within < 0.85 * everywhere


def saturation(pictures: list[np.ndarray]) -> float:
    """The mean distance of the largest from the smallest of R, G and B."""
    return float(np.mean([np.ptp(picture.astype(float), axis=-1).mean() for picture in pictures]))


def sharpness(pictures: list[np.ndarray]) -> float:
    """The mean variance of the Laplacian."""
    grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures)
    return float(np.mean([cv2.Laplacian(picture, cv2.CV_64F).var() for picture in grey]))


def outside_the_face(seen: Observer, pictures: list[np.ndarray], others: list[np.ndarray]) -> float:
    """How far the pictures differ outside the boxes of the pose pictures' faces."""
    differences = []
    for case, picture, other in zip(FEW, pictures, others, strict=True):
        left, top, right, bottom = np.clip(seen.see(case.pose_picture).box, 0, None).astype(int)
        difference = np.abs(picture.astype(float) - other)
        difference[top:bottom, left:right] = np.nan
        differences.append(np.nanmean(difference))
    return float(np.mean(differences))
