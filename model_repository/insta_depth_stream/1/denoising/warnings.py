"""Warnings of an answer: values that are allowed, and do little good with the served checkpoint."""

from typing import Any

from insta_depth_shared.manifest import FewSteps, Manifest

from .request import PipelineRequest
from .schedulers import distilled_steps


def warnings_of(request: PipelineRequest, scheduler: Any, manifest: Manifest) -> tuple[str, ...]:
    """Return a sentence for each such value of ``request``, beginning with its attribute as an error does.

    ``scheduler``: the one that `prepare_scheduler` made for it.
    """
    few, steps, known = manifest.few_steps, request.num_inference_steps, distilled_steps(scheduler)
    found = _beyond(request, few, manifest.defaults["scheduler"]) if few else []
    if not few and steps > known:
        found.append(f"num_inference_steps: {steps}; the scheduler {request.scheduler} is made for {known} at most")
    if request.negative_prompt and not request.is_guided:
        found.append("negative_prompt: has no effect where guidance_scale is 1")
    return tuple(found)


def _beyond(request: PipelineRequest, few: FewSteps, scheduler: str) -> list[str]:
    made, found = f"the checkpoint ({few.kind}) is made for", []
    if not few.min_steps <= request.num_inference_steps <= few.max_steps:
        numbers = f"{few.min_steps} to {few.max_steps}" if few.min_steps < few.max_steps else few.max_steps
        found.append(f"num_inference_steps: {request.num_inference_steps}; {made} {numbers}")
    if request.guidance_scale > few.max_guidance_scale:
        most = f"{few.max_guidance_scale:g}" + (" at most" if few.max_guidance_scale > 1 else "")
        found.append(f"guidance_scale: {request.guidance_scale:g}; {made} {most}")
    if request.scheduler != scheduler:
        found.append(f"scheduler: {request.scheduler}; {made} {scheduler}")
    return found
