"""What an answer warns of: allowed values that do little good with the served checkpoint."""

import dataclasses

import pytest
from denoising import PipelineRequest, prepare_scheduler
from denoising.warnings import warnings_of

from insta_depth_shared.manifest import FewSteps
from tests.unit.denoising.fakes import EULER_CONFIG, make_manifest, make_request

LIGHTNING = FewSteps("lightning", 4, 4, 1.0)
LCM = FewSteps("lcm", 4, 8, 2.0)


def warnings(request: PipelineRequest, few_steps: FewSteps | None = None) -> tuple[str, ...]:
    scheduler = prepare_scheduler(request.scheduler, request.num_inference_steps, EULER_CONFIG)
    return warnings_of(request, scheduler, dataclasses.replace(make_manifest(), few_steps=few_steps))


@pytest.mark.parametrize(
    ("few_steps", "values"),
    [
        (LIGHTNING, {"num_inference_steps": 4, "guidance_scale": 1.0}),
        (LCM, {"num_inference_steps": 8, "guidance_scale": 2.0}),
        (None, {"num_inference_steps": 100, "guidance_scale": 15.0, "scheduler": "ddim"}),
        (None, {"num_inference_steps": 50, "scheduler": "lcm", "negative_prompt": "blurry"}),
    ],
)
def test_what_a_checkpoint_was_made_for_is_no_warning(few_steps: FewSteps | None, values: dict[str, object]) -> None:
    assert warnings(make_request(**values), few_steps) == ()


@pytest.mark.parametrize(
    ("few_steps", "values", "said"),
    [
        (LIGHTNING, {"num_inference_steps": 10}, "num_inference_steps: 10; the checkpoint (lightning) is made for 4"),
        (LCM, {"num_inference_steps": 100}, "num_inference_steps: 100; the checkpoint (lcm) is made for 4 to 8"),
        (LIGHTNING, {"guidance_scale": 1.5}, "guidance_scale: 1.5; the checkpoint (lightning) is made for 1"),
        (LCM, {"guidance_scale": 2.5}, "guidance_scale: 2.5; the checkpoint (lcm) is made for 2 at most"),
        (LIGHTNING, {"scheduler": "ddim"}, "scheduler: ddim; the checkpoint (lightning) is made for euler"),
        (LIGHTNING, {"negative_prompt": "blurry"}, "negative_prompt: has no effect where guidance_scale is 1"),
        (
            None,
            {"num_inference_steps": 51, "scheduler": "lcm"},
            "num_inference_steps: 51; the scheduler lcm is made for 50 at most",
        ),
    ],
)
def test_a_value_of_little_use_is_named(few_steps: FewSteps | None, values: dict[str, object], said: str) -> None:
    request = make_request(**{"num_inference_steps": 4, "guidance_scale": 1.0} | values)
    assert warnings(request, few_steps) == (said,)
