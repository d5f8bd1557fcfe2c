"""The region mask at the resolutions where it acts.

As in InstantID: bilinear for IdentityNet's residuals, nearest for the attention's queries.
"""

import torch
import torch.nn.functional as F


def bilinear(mask: torch.Tensor, px: int) -> torch.Tensor:
    """mask (B, 1, H, W) in [0, 1] → (B, 1, H / px, W / px)."""
    size = (mask.shape[2] // px, mask.shape[3] // px)
    return F.interpolate(mask, size, mode="bilinear", align_corners=False)


def nearest(mask: torch.Tensor, px: int) -> torch.Tensor:
    """mask (B, 1, H, W) → (B, 1, H / px, W / px); nearest neighbour at a whole ratio is every px-th pixel."""
    return mask[:, :, ::px, ::px]
