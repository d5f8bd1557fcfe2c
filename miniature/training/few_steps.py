"""A LoRA with which four steps do: latent consistency distillation (arXiv:2311.05556) of the trained networks."""

import numpy as np
import torch
from diffusers import LCMScheduler, UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

from ..diffusion import sdxl_scheduler
from .depth_control import DepthControlStage
from .examples import Examples
from .identity import Parts, Step
from .loop import Batch, Schedule

_GUIDANCE = 3.0
"""Built into the LoRA: with it there is no negative row. The documented default."""
_STEPS = 50
_RANK = 16
_LAYERS = [
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj"),
]
"""The layers that the published LCM-LoRA has matrices for."""
_HUBER = 1e-3
_SHOWN_STEPS = 4


def add_lora(unet: UNet2DConditionModel) -> nn.ModuleDict:
    """Freeze ``unet``, give it an adapter without effect, and return the adapter's matrices, which can be trained.

    Called before the face attention is added, which takes over the layers.
    """
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=_RANK, lora_alpha=_RANK, target_modules=_LAYERS))
    layers = {name: layer for name, layer in unet.named_modules() if isinstance(layer, LoraLayer)}
    return nn.ModuleDict(
        {name.replace(".", "_"): nn.ModuleList([layer.lora_A, layer.lora_B]) for name, layer in layers.items()}
    )


class FewStepsStage(DepthControlStage):
    """From a point of the way from noise to picture, the network learns to predict what it predicts a step further on.

    That step is the trained network's own, with guidance. In the end it predicts the picture from everywhere.
    """

    name = "few_steps"

    def __init__(self, parts: Parts, lora: nn.ModuleDict, examples: Examples, schedule: Schedule) -> None:
        self.parts, self.schedule, self._examples, self._trained = parts, schedule, examples, lora
        kept = sdxl_scheduler().alphas_cumprod.to(parts.vae.device)
        # One more at the end, so that index -1 is the picture itself.
        self._signal = torch.cat([kept.sqrt(), kept.new_ones(1)])
        self._noise = torch.cat([(1 - kept).sqrt(), kept.new_zeros(1)])
        self._stride = len(kept) // _STEPS

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the distance of the two predictions of the picture, pseudo-Huber (arXiv:2310.14189)."""
        latents = batch["latents"].float() * self.parts.vae.config.scaling_factor
        start = self._stride * torch.randint(1, _STEPS + 1, (len(latents),), device=latents.device) - 1
        noise = torch.randn_like(latents)
        noisy = _at(self._signal, start) * latents + _at(self._noise, start) * noise
        further = start - self._stride
        with torch.no_grad():
            target = self._target(batch, self._one_step(batch, noisy, start, further), further)
        predicted = self._picture(noisy, Step(self.parts, batch)(noisy, start[:, None]).float(), start)
        difference = predicted - target
        return {"consistency": ((difference.square() + _HUBER**2).sqrt() - _HUBER).mean()}

    def _one_step(self, batch: Batch, noisy: torch.Tensor, start: torch.Tensor, further: torch.Tensor) -> torch.Tensor:
        """Take one step of DDIM with the trained network and guidance."""
        nothing = torch.zeros_like(batch["with_text"])
        unet = self.parts.unet.unet
        unet.disable_adapters()
        positive = Step(self.parts, batch)(noisy, start[:, None]).float()
        negative = Step(self.parts, batch | {"with_text": nothing, "with_face": nothing})(noisy, start[:, None]).float()
        unet.enable_adapters()
        guided = negative + _GUIDANCE * (positive - negative)
        picture = self._picture(noisy, guided, start)
        return _at(self._signal, further) * picture + _at(self._noise, further) * guided

    def _target(self, batch: Batch, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Return the picture that the network predicts there; at the end of the way it is what is there."""
        asked = timestep.clamp(min=0)
        predicted = self._picture(latents, Step(self.parts, batch)(latents, asked[:, None]).float(), asked)
        return torch.where((timestep < 0)[:, None, None, None], latents, predicted)

    def _picture(self, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return (latents - _at(self._noise, timestep) * noise) / _at(self._signal, timestep)

    def sheet(self) -> np.ndarray:
        """Return the pose pictures above those made in four steps."""
        shown = self._shown()
        return self._above(shown, self._made(Step(self.parts, shown), shown["latents"].shape))

    def _made(self, step: Step, shape: torch.Size) -> torch.Tensor:
        scheduler: LCMScheduler = LCMScheduler.from_config(sdxl_scheduler().config)
        scheduler.set_timesteps(_SHOWN_STEPS)
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(shape, generator=generator).to(self._signal.device)
        for timestep in scheduler.timesteps:
            noise = step(latents, timestep.expand(len(latents), 1).to(latents.device)).float()
            latents = scheduler.step(noise, timestep, latents, generator=generator).prev_sample
        return latents


def _at(values: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    return values[timestep][:, None, None, None]
