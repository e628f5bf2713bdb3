"""How much a picture varies at each place and frequency: the strength of its texture.

LPIPS prefers too little texture to texture in the wrong place, and knows little of the finest. The
energy of each band of frequencies in small neighbourhoods asks for as much of it as the original
has, wherever its details lie (compare the texture term of Ding et al. 2021, "Image Quality
Assessment: Unifying Structure and Texture Similarity", and the steerable-pyramid statistics of
Portilla & Simoncelli 2000).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .variance import FLOOR, by_shares, opponent_planes

# Frequencies of the discrete cosine transform of squares of this side.
SIDE = 8
# Pixels between squares, and squares on one side of a neighbourhood.
STEP = 4
NEIGHBOURHOOD = 4


def bands(device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Basis functions [SIDE^2, 1, SIDE, SIDE], and for every band the share [SIDE, SIDE^2] of each:
    the mean over all whose distance from the constant one rounds to the band's number + 1."""
    k = torch.arange(SIDE, device=device, dtype=torch.float32)
    cosines = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / SIDE) * (2 / SIDE) ** 0.5
    cosines[0] *= 0.5**0.5
    basis = torch.einsum("ui,vj->uvij", cosines, cosines).reshape(-1, 1, SIDE, SIDE)
    radius = torch.hypot(k[:, None], k[None]).round().clamp(max=SIDE).flatten()
    member = (radius == k[:, None] + 1).float()
    return basis, member / member.sum(1, keepdim=True)


def log_energies(x: Tensor) -> Tensor:
    """Log mean square of luma and colour in each band of frequencies around every place.

    Args:
        x: [N, 3, H, W] in [0, 1], H and W at least SIDE + STEP * (NEIGHBOURHOOD - 1).

    Returns:
        [N, 3, SIDE, h, w], from the lowest frequencies to the highest.
    """
    with torch.autocast(x.device.type, enabled=False):
        planes = opponent_planes(x - 0.5)  # near 0, where rounding hurts least
        basis, member = bands(x.device)
        square = F.conv2d(planes, basis, stride=STEP).square()  # [3 N, SIDE^2, H/4, W/4]
        energy = F.conv2d(square, member[:, :, None, None])  # [3 N, SIDE, H/4, W/4]
        local = F.avg_pool2d(energy, NEIGHBOURHOOD, NEIGHBOURHOOD // 2)
        return (local + FLOOR).log().unflatten(0, (-1, 3))


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of `log_energies` of two batches [N, 3, H, W], colours weighted by
    SHARES; [N], in nats."""
    return by_shares((log_energies(a) - log_energies(b)).abs().mean((2, 3, 4)))
