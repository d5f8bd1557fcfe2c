"""The perceiver resampler as plain functions over the published state dict."""

import torch
import torch.nn.functional as F

HEAD_WIDTH = 64


def resample(weights: dict[str, torch.Tensor], embedding: torch.Tensor) -> torch.Tensor:
    """embedding (B, 512) → tokens (B, Q, X)."""
    x = F.linear(embedding[:, None], weights["proj_in.weight"], weights["proj_in.bias"])
    latents = weights["latents"].repeat(len(embedding), 1, 1)
    depth = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    for i in range(depth):
        layer = {k.removeprefix(f"layers.{i}."): v for k, v in weights.items() if k.startswith(f"layers.{i}.")}
        latents = latents + _attention(layer, x, latents)
        hidden = _norm(layer, "1.0", latents)
        latents = latents + F.gelu(hidden @ layer["1.1.weight"].T) @ layer["1.3.weight"].T
    out = F.linear(latents, weights["proj_out.weight"], weights["proj_out.bias"])
    return _norm(weights, "norm_out", out)


def _norm(weights, name, x):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def _attention(layer, x, latents):
    x, latents = _norm(layer, "0.norm1", x), _norm(layer, "0.norm2", latents)
    q = latents @ layer["0.to_q.weight"].T
    k, v = (torch.cat([x, latents], 1) @ layer["0.to_kv.weight"].T).chunk(2, -1)
    heads = [
        torch.softmax(a @ b.transpose(1, 2) / HEAD_WIDTH**0.5, -1) @ c
        for a, b, c in zip(*(t.split(HEAD_WIDTH, -1) for t in (q, k, v)), strict=True)
    ]
    return torch.cat(heads, -1) @ layer["0.to_out.weight"].T
