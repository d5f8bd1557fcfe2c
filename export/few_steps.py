"""Checkpoints distilled to few steps: how each publisher says that its weights are used.

LCM-LoRA arXiv 2311.05556, SDXL-Lightning 2402.13929, Hyper-SD 2404.13686, DMD2 2405.14867; the settings are those of
their model cards. diffusers' ``guidance_scale=0`` there is our 1: no negative row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from insta_depth_shared.manifest import FewSteps

from .checkpoint import Checkpoint, Lora
from .errors import CheckpointError
from .fetching.published import FEW_STEPS

IN_BASE = "base"
"""Said for a base whose UNet is of that kind already."""
_TRAILING = {"timestep_spacing": "trailing"}


@dataclass(frozen=True)
class Recipe:
    """How weights of one kind are used.

    ``scheduler``: diffusers' class, with SDXL's sampling settings except ``settings``. ``timesteps``: where they are
    not the scheduler's own. ``usual_steps`` is the default of a request.
    """

    kind: str
    scheduler: str
    min_steps: int
    usual_steps: int
    max_steps: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_guidance_scale: float = 1.0
    timesteps: tuple[int, ...] = ()

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of the attributes that a request leaves out, apart from the scheduler."""
        return {"num_inference_steps": self.usual_steps, "guidance_scale": 1.0}

    @property
    def facts(self) -> FewSteps:
        """What the manifest says of it."""
        return FewSteps(self.kind, self.min_steps, self.max_steps, self.max_guidance_scale, list(self.timesteps))


RECIPES = {
    recipe.kind: recipe
    for recipe in (
        Recipe("lcm", "LCMScheduler", 4, 4, 8, max_guidance_scale=2.0),
        Recipe("lightning", "EulerDiscreteScheduler", 4, 4, 4, _TRAILING),
        Recipe("lightning-8", "EulerDiscreteScheduler", 8, 8, 8, _TRAILING),
        Recipe("hyper", "DDIMScheduler", 4, 4, 4, _TRAILING),
        Recipe("hyper-8", "DDIMScheduler", 8, 8, 8, _TRAILING),
        Recipe("dmd2", "LCMScheduler", 4, 4, 4, timesteps=(999, 749, 499, 249)),
    )
}


@dataclass(frozen=True)
class FewStepWeights:
    """Where the weights are: in a LoRA, in the folder of a UNet, or (both None) in the base already."""

    lora: Lora | None = None
    unet: Path | None = None


def recipe_for(checkpoint: Checkpoint, recipe: Recipe | None) -> Recipe | None:
    """Return ``recipe`` as the checkpoint's UNet wants it.

    LCM's whole UNet has its guidance built in (`export.networks.guidance`): none is to be added. Raises
    `CheckpointError` where such a UNet is to be exported as anything else.
    """
    width = checkpoint.config(checkpoint.unet).get("time_cond_proj_dim")
    if width is None:
        return recipe
    if recipe is None or recipe.kind != "lcm":
        raise CheckpointError(
            f"{checkpoint.unet / 'config.json'}: time_cond_proj_dim is {width}: a UNet that LCM has distilled; export "
            f"it by --few-steps lcm:{IN_BASE}, or lcm:DIR where it takes the place of the base's"
        )
    return replace(recipe, max_guidance_scale=1.0)


def find_weights(recipe: Recipe, said: str | None, checkpoint: Path) -> FewStepWeights:
    """Return the weights of ``recipe`` for the folder ``checkpoint``.

    ``said``: `IN_BASE`, a LoRA, or the folder of a UNet in diffusers' layout; None: what ``export fetch`` puts there.
    Raises `CheckpointError` where that is missing.
    """
    if said == IN_BASE:
        return FewStepWeights()
    if said is not None:
        path = Path(said)
        return FewStepWeights(unet=path) if (path / "config.json").exists() else FewStepWeights(Lora(path))
    published = FEW_STEPS[recipe.kind]
    path = checkpoint / published.folder / published.needs[0]
    if not path.exists():
        raise CheckpointError(
            f"{path} is missing: fetch it by `python -m export fetch --few-steps {recipe.kind} …`, or name a LoRA, "
            f"a UNet's folder, or base for a base that is of this kind: --few-steps {recipe.kind}:PATH"
        )
    return FewStepWeights(Lora(path))
