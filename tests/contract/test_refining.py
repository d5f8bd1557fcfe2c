"""The gateway counts the steps of a second pass as the server does."""

from denoising.trajectory import steps_from_picture
from insta_depth_gateway.pricing import _USUAL_STRENGTH, refine_steps

from insta_depth_shared.attributes import DEFAULTS


def test_the_steps_that_are_paid_for_are_those_that_are_made() -> None:
    strengths = [0.2 + 0.01 * hundredth for hundredth in range(41)]
    for steps in range(4, 101):
        for strength in strengths:
            assert refine_steps(steps, strength) == steps_from_picture(steps, strength)


def test_the_usual_strength_is_the_servers() -> None:
    assert DEFAULTS["refine_strength"] == _USUAL_STRENGTH
