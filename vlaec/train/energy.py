"""How much a picture varies at each place and scale: a loss on the strength of texture.

LPIPS prefers too little texture to texture in the wrong place. The energy of each octave in small
neighbourhoods asks for as much of it as the original has, wherever its details lie (compare the
texture term of Ding et al. 2021, "Image Quality Assessment: Unifying Structure and Texture
Similarity", and the steerable-pyramid statistics of Portilla & Simoncelli 2000).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OCTAVES = 3
# Pixels of one neighbourhood's side, in every octave.
NEIGHBOURHOOD = 8
# Variation below about one grey level is not seen: the floor keeps clean areas clean.
FLOOR = (1.0 / 255) ** 2
LUMA = (0.299, 0.587, 0.114)
TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def log_energies(x: Tensor) -> list[Tensor]:
    """Log mean square of each octave of the luma around every place.

    Args:
        x: [N, 3, H, W] in [0, 1], H and W at least 32.

    Returns:
        From the finest octave on, each [N, 1, h, w].
    """
    with torch.autocast(x.device.type, enabled=False):
        weights = torch.tensor(LUMA, device=x.device).view(1, 3, 1, 1)
        luma = (x.float() * weights).sum(1, keepdim=True)  # [N, 1, H, W]
        window = torch.tensor(TAPS, device=x.device)
        energies = []
        for _ in range(OCTAVES):
            padded = F.pad(luma, (2, 2, 2, 2), mode="reflect")
            low = F.conv2d(F.conv2d(padded, window.view(1, 1, 5, 1)), window.view(1, 1, 1, 5))
            square = (luma - low).square()
            local = F.avg_pool2d(square, NEIGHBOURHOOD, NEIGHBOURHOOD // 2)
            energies.append((local + FLOOR).log())
            luma = low[:, :, ::2, ::2]
        return energies


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of `log_energies` of two batches [N, 3, H, W]; [N], in nats."""
    pairs = zip(log_energies(a), log_energies(b), strict=True)
    return torch.stack([(p - q).abs().mean((1, 2, 3)) for p, q in pairs]).mean(0)
