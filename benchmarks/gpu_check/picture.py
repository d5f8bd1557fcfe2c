"""A whole picture in one process: depth estimator, denoising loop and VAE's decoder."""

from collections.abc import Mapping

import numpy as np
import torch

from export.in_process import import_models_of
from insta_depth_shared.attributes import DEFAULTS
from miniature.diffusion import sdxl_scheduler

from .flops import network_tflop, step_tflop
from .networks import DEPTH_ESTIMATOR, VAE_DECODER, step_engines
from .once import once_inputs, tf32
from .options import Options
from .step import SOURCE, Network, Step, Tensors, ensemble_config, step_inputs
from .torch_networks import eager_network

STEPS: int = DEFAULTS["num_inference_steps"]


class Picture:
    """Makes a picture at the documented defaults for steps and guidance, on the networks' device from end to end.

    What reads the prompt and the face is left out: it is a few milliseconds of it.
    """

    def __init__(self, networks: Mapping[str, Network], options: Options) -> None:
        import_models_of(SOURCE)
        from denoising.control_pictures import depth_picture
        from denoising.loop import guide

        self._step = Step(networks, ensemble_config(options))
        self._estimate_depth, self._decode = networks[DEPTH_ESTIMATOR], networks[VAE_DECODER]
        self._pixels = once_inputs(DEPTH_ESTIMATOR, options)
        self._depth_picture, self._guide = depth_picture, guide

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Tensors:
        """The step's inputs for a guided pair, ``sample`` being noise → image (1, H, W, 3) uint8 RGB."""
        conditions = {**inputs, "depth": self._depth(inputs["depth"])}
        return self._decode({"latents": self._denoised(conditions).to(inputs["sample"].dtype)})

    def _depth(self, like: torch.Tensor) -> torch.Tensor:
        pixels = {name: tensor.to(like.dtype) for name, tensor in self._pixels.items()}
        (predicted,) = self._estimate_depth(pixels).values()
        return self._depth_picture(predicted, *like.shape[2:]).to(like.dtype).expand_as(like).contiguous()

    def _denoised(self, conditions: Tensors) -> torch.Tensor:
        # Its timesteps and sigmas stay on the host, so that no step waits for the device.
        scheduler = sdxl_scheduler()
        scheduler.set_timesteps(STEPS)
        latents = conditions["sample"][:1].float() * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            sample = scheduler.scale_model_input(latents, timestep).to(conditions["sample"].dtype)
            rows = {
                "sample": sample.expand_as(conditions["sample"]).contiguous(),
                "timestep": torch.full_like(conditions["timestep"], timestep.item()),
            }
            guided = self._guide(self._step({**conditions, **rows}).float(), DEFAULTS["guidance_scale"])
            latents = scheduler.step(guided, timestep, latents).prev_sample
        return latents


def picture_engines(options: Options) -> tuple[str, ...]:
    """Names of the networks that a `Picture` calls."""
    return (*step_engines(options), DEPTH_ESTIMATOR, VAE_DECODER)


def exact_picture(options: Options) -> np.ndarray:
    """The picture in float32 without TF32: (1, H, W, 3) uint8."""
    tf32(is_allowed=False)
    networks = {name: eager_network(name, options, torch.float32) for name in picture_engines(options)}
    inputs = {name: tensor.float() for name, tensor in step_inputs(options).items()}
    (image,) = Picture(networks, options)(inputs).values()
    return image.cpu().numpy()


def picture_tflop(options: Options) -> float:
    """TFLOP of a whole picture."""
    a_step = sum(step_tflop(options).values())
    return STEPS * a_step + sum(network_tflop(name, options) for name in (DEPTH_ESTIMATOR, VAE_DECODER))
