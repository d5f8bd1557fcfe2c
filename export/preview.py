"""A linear map from latents to colours, so that the loop can show a picture without the VAE's decoder.

SDXL's own map is well known; fitting it here makes it right for any checkpoint.
"""

import torch
import torch.nn.functional as F

from .networks.vae_decoder import VaeDecoder

_PICTURES, _CELLS = 4, 16


def fit_preview(decoder: VaeDecoder, channels: int, factor: int) -> tuple[list[list[float]], list[float]]:
    """Return weight (3, channels) and bias (3) of the least-squares fit: latents → RGB in [0, 1].

    Fitted on smooth random latents, one colour a latent cell.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((_PICTURES, channels, _CELLS // 4, _CELLS // 4), generator=generator)
    latents = F.interpolate(coarse, size=(_CELLS, _CELLS), mode="bicubic") * 1.5
    with torch.no_grad():
        pixels = decoder.decode(latents).float() / 2 + 0.5
    colours = F.avg_pool2d(pixels.clamp(0, 1), factor).permute(0, 2, 3, 1).reshape(-1, 3)
    cells = latents.permute(0, 2, 3, 1).reshape(-1, channels)
    cells = torch.cat([cells, torch.ones(len(cells), 1)], dim=1)
    solution = torch.linalg.lstsq(cells, colours).solution
    return solution[:-1].T.tolist(), solution[-1].tolist()
