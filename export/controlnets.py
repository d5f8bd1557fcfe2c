"""The ControlNets beside the UNet, one row each; checks, engines, the ensemble and the command line follow from it.

docs/extending.md adds one step by step.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ControlNet:
    """Where a ControlNet's weights are, and what the ensemble ``denoise_step`` calls its inputs."""

    engine: str
    """Its name in the model repository."""
    part: str
    """The part of the checkpoint that holds it, and its option of ``python -m export onnx``."""
    picture: str
    """Its conditioning picture: a key of the orchestrator's ``CONTROL_PICTURES``."""
    scale: str
    """Its scale: the attribute of a request."""
    subfolder: str = ""
    """Its folder within ``part``."""
    reads_face: bool = False
    """IdentityNet attends to the face's tokens instead of the text, and acts inside the region mask only."""


CONTROLNETS = (
    ControlNet(
        "identitynet", "instantid", "face_keypoints", "identitynet_scale", subfolder="ControlNetModel", reads_face=True
    ),
    ControlNet("controlnet_depth", "controlnet-depth", "depth", "depth_scale"),
)
