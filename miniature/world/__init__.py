"""A drawn world of people: parameters in, a picture with exact keypoints, boxes and depth out."""

from .identity import Identity
from .prompts import prompt_of
from .render import Rendered, render
from .scene import Background, Clothes, Person, Pose, Scene

__all__ = ["Background", "Clothes", "Identity", "Person", "Pose", "Rendered", "Scene", "prompt_of", "render"]
