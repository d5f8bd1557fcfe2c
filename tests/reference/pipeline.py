"""One picture in PyTorch from a checkpoint's published layout, in the order of InstantID's own pipeline."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from .attention import install
from .resampler import resample


@dataclass
class Conditions:
    """What both sides are given: everything that was read off the two pictures."""

    embedding: np.ndarray
    keypoints: np.ndarray
    """(H, W, 3) uint8: the drawing."""
    depth: np.ndarray
    """(3, H, W) float32 in [0, 1]."""
    box: np.ndarray | None
    """Face box of the pose picture, where the face region is on."""


class ReferencePipeline:
    """All networks in fp32 on the CPU."""

    def __init__(self, checkpoint: Path) -> None:
        base = checkpoint / "base"
        adapter = _in_fp32(torch.load(checkpoint / "instantid" / "ip-adapter.bin", weights_only=True))
        self.projector = adapter["image_proj"]
        self.unet = UNet2DConditionModel.from_pretrained(base / "unet")
        self.controls = install(self.unet, adapter["ip_adapter"], self.projector["latents"].shape[1])
        self.identitynet = ControlNetModel.from_pretrained(checkpoint / "instantid" / "ControlNetModel")
        self.depthnet = ControlNetModel.from_pretrained(checkpoint / "controlnet-depth")
        self.vae = AutoencoderKL.from_pretrained(base / "vae")
        self.scheduler = EulerDiscreteScheduler.from_pretrained(base / "scheduler")
        self.text = StableDiffusionXLPipeline(
            vae=self.vae,
            text_encoder=CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32),
            text_encoder_2=CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2", dtype=torch.float32),
            tokenizer=CLIPTokenizer.from_pretrained(base / "tokenizer"),
            tokenizer_2=CLIPTokenizer.from_pretrained(base / "tokenizer_2"),
            unet=self.unet,
            scheduler=self.scheduler,
            add_watermarker=False,
        )

    @torch.no_grad()
    def __call__(
        self,
        conditions: Conditions,
        prompt: str,
        negative_prompt: str | None = None,
        steps: int = 10,
        guidance: float = 3.0,
        seed: int = 0,
        ip_adapter_scale: float = 0.8,
        identitynet_scale: float = 0.8,
        depth_scale: float = 0.5,
        leave_out: str = "",
        timesteps: list[int] | None = None,
        image: np.ndarray | None = None,
        strength: float = 1.0,
    ) -> np.ndarray:
        """Return the picture as (H, W, 3) uint8 RGB; ``leave_out``: ip_adapter, identitynet or depth.

        ``timesteps``: in place of the scheduler's own for ``steps``. ``image``: (H, W, 3) uint8 RGB, from which the
        run starts as diffusers' StableDiffusionXLControlNetImg2ImgPipeline does, with its ``strength``. A UNet with
        ``time_cond_proj_dim`` (LCM's) gets ``guidance`` as an input.
        """
        guided, guidance_embedding = guidance > 1, None
        if self.unet.config.time_cond_proj_dim is not None:  # as in diffusers: the network itself is told
            guided, width = False, self.unet.config.time_cond_proj_dim
            guidance_embedding = self.text.get_guidance_scale_embedding(torch.tensor([guidance - 1]), width)
        height, width = conditions.keypoints.shape[:2]
        text, pooled = self._text(prompt, negative_prompt, guided)
        face = self._face(conditions.embedding, guided)
        rows = len(text)
        keypoints = torch.from_numpy(conditions.keypoints).permute(2, 0, 1)[None].float().div(255).repeat(rows, 1, 1, 1)
        depth = torch.from_numpy(conditions.depth)[None].repeat(rows, 1, 1, 1)
        mask = self._mask(conditions.box, height, width)
        self.controls.scale, self.controls.mask = ip_adapter_scale, mask
        self.controls.silent = leave_out == "ip_adapter"
        time_ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32).repeat(rows, 1)
        added = {"text_embeds": pooled, "time_ids": time_ids}

        self.scheduler.set_timesteps(**({"timesteps": timesteps} if timesteps else {"num_inference_steps": steps}))
        generator = torch.Generator().manual_seed(seed)
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        shape = (1, self.unet.config.in_channels, height // factor, width // factor)
        latents, first = self._start(shape, generator, image, steps, strength)
        for t in self.scheduler.timesteps[first:]:
            sample = self.scheduler.scale_model_input(torch.cat([latents] * rows), t)
            down, middle = self.identitynet(
                sample, t, face, keypoints, identitynet_scale, added_cond_kwargs=added, return_dict=False
            )
            if mask is not None:
                down = [d * F.interpolate(mask, d.shape[2:], mode="bilinear") for d in down]
                middle = middle * F.interpolate(mask, middle.shape[2:], mode="bilinear")
            depth_down, depth_middle = self.depthnet(
                sample, t, text, depth, depth_scale, added_cond_kwargs=added, return_dict=False
            )
            nets = {"identitynet": (*down, middle), "depth": (*depth_down, depth_middle)}
            summed = [sum(parts) for parts in zip(*(r for n, r in nets.items() if n != leave_out), strict=True)]
            noise = self.unet(
                sample,
                t,
                torch.cat([text, face], dim=1),
                timestep_cond=guidance_embedding,
                added_cond_kwargs=added,
                down_block_additional_residuals=summed[:-1],
                mid_block_additional_residual=summed[-1],
            ).sample
            if guided:
                negative, positive = noise.chunk(2)
                noise = negative + guidance * (positive - negative)
            latents = self.scheduler.step(noise, t, latents, generator=generator).prev_sample
        decoded = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        image = (decoded[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
        return (image * 255).round().astype(np.uint8)

    def _start(self, shape, generator, image, steps, strength):
        """Return the first latents and the number of timesteps that are left out."""
        if image is None:
            return torch.randn(shape, generator=generator) * self.scheduler.init_noise_sigma, 0
        first = (steps - min(int(steps * strength), steps)) * self.scheduler.order
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255) * 2 - 1
        init_latents = self.vae.encode(pixels).latent_dist.sample(generator) * self.vae.config.scaling_factor
        noise = torch.randn(shape, generator=generator)
        self.scheduler.set_begin_index(first)
        return self.scheduler.add_noise(init_latents, noise, self.scheduler.timesteps[first : first + 1]), first

    def _text(self, prompt, negative_prompt, guided):
        prompt_embeds, negative_embeds, pooled, negative_pooled = self.text.encode_prompt(
            prompt, device="cpu", do_classifier_free_guidance=guided, negative_prompt=negative_prompt
        )
        if not guided:
            return prompt_embeds, pooled
        return torch.cat([negative_embeds, prompt_embeds]), torch.cat([negative_pooled, pooled])

    def _face(self, embedding, guided):
        positive = torch.from_numpy(embedding.copy()).reshape(1, -1)
        rows = torch.cat([torch.zeros_like(positive), positive]) if guided else positive
        return resample(self.projector, rows)

    @staticmethod
    def _mask(box, height, width):
        if box is None:
            return None
        x1, y1, x2, y2 = (max(int(v), 0) for v in box)
        mask = torch.zeros(1, 1, height, width)
        mask[:, :, y1:y2, x1:x2] = 1
        return mask


def _in_fp32(parts: dict[str, dict[str, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
    return {part: {name: tensor.float() for name, tensor in tensors.items()} for part, tensors in parts.items()}
