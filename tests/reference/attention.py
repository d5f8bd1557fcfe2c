"""InstantID's decoupled attention as the paper writes it: text and face tokens travel in one sequence."""

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor


class Controls:
    """What all layers read during one call: the face's scale, and a mask (1, 1, H, W) or None."""

    scale: float = 1.0
    mask: torch.Tensor | None = None
    silent: bool = False
    """Leave the face's attention out altogether."""


class JointTokens:
    """Splits off the face's tokens from the end of the sequence and attends to them apart."""

    def __init__(self, key: torch.Tensor, value: torch.Tensor, face_tokens: int, controls: Controls) -> None:
        self.key, self.value, self.face_tokens, self.controls = key, value, face_tokens, controls

    def __call__(self, attn: Attention, hidden_states, encoder_hidden_states=None, attention_mask=None):
        text, face = encoder_hidden_states[:, : -self.face_tokens], encoder_hidden_states[:, -self.face_tokens :]
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        attended = self._attend(attn, query, attn.to_k(text), attn.to_v(text))
        if self.controls.silent:
            return attn.to_out[0](attended)
        attended_face = self._attend(attn, query, face @ self.key.T, face @ self.value.T)
        if self.controls.mask is not None:
            attended_face = attended_face * self._mask(hidden_states.shape[1])
        return attn.to_out[0](attended + self.controls.scale * attended_face)

    @staticmethod
    def _attend(attn, query, key, value):
        key, value = attn.head_to_batch_dim(key), attn.head_to_batch_dim(value)
        return attn.batch_to_head_dim(torch.bmm(attn.get_attention_scores(query, key), value))

    def _mask(self, queries: int) -> torch.Tensor:
        height, width = self.controls.mask.shape[2:]
        ratio = (height * width / queries) ** 0.5
        size = (round(height / ratio), round(width / ratio))
        return F.interpolate(self.controls.mask, size, mode="nearest").reshape(1, -1, 1)


def install(unet: UNet2DConditionModel, weights: dict[str, torch.Tensor], face_tokens: int) -> Controls:
    """Put the published face projections into ``unet``; the returned object steers them."""
    controls = Controls()
    processors = {}
    for index, name in enumerate(unet.attn_processors):
        if f"{index}.to_k_ip.weight" in weights:
            key, value = (weights[f"{index}.to_{kind}_ip.weight"] for kind in "kv")
            processors[name] = JointTokens(key, value, face_tokens, controls)
        else:
            processors[name] = AttnProcessor()
    unet.set_attn_processor(processors)
    return controls
