"""Inverse autoregressive flow (Kingma et al. 2016): a richer posterior, which no coder can walk.

Only the paper's baseline uses it: an autoregressive prior does the same job (Chen et al. 2016,
section 3.2) and is coded at no extra cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .made import MADE
from .set_units import LATENT_UNIT


class InverseFlow(nn.Module):
    """Affine steps z' = z * scale(z_<, context) + shift(z_<, context), reversed in between."""

    def __init__(self, size: int, hidden: int, steps: int) -> None:
        """For z of `size` elements and a context of as many."""
        super().__init__()
        self.steps = nn.ModuleList(MADE(size, hidden, 2, context=size) for _ in range(steps))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Both [N, C, h, w] in cells of z's grid; the new z, and log |det| of the steps [N]."""
        flat, before = (t.flatten(1)[:, :, None, None] / LATENT_UNIT for t in (z, context))
        log_determinant = torch.zeros_like(flat[:, 0, 0, 0])
        for step in self.steps:
            shift, log_scale = step(flat, before)
            log_scale = log_scale.clamp(-3, 3)
            flat = (flat * log_scale.exp() + shift).flip(1)
            log_determinant = log_determinant + log_scale.flatten(1).sum(1)
        return (flat * LATENT_UNIT).reshape(z.shape), log_determinant
