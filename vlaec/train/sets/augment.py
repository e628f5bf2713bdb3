"""Images varied at random, for sets too small for the model: it must not learn them by heart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Knots along one side of the field that bends images: parts of them turn, lean and stretch.
KNOTS = 3


def shifted(x: Tensor, reach: int, random: torch.Generator) -> Tensor:
    """Images [N, C, H, W], each moved at random by up to `reach` pixels; edges are repeated."""
    n, _, height, width = x.shape
    padded = F.pad(x, (reach,) * 4, mode="replicate").permute(0, 2, 3, 1)
    size = 2 * reach + 1
    top, left = torch.randint(0, size, (2, n, 1), generator=random, device=x.device)
    rows = top + torch.arange(height, device=x.device)  # [N, H]
    columns = left + torch.arange(width, device=x.device)  # [N, W]
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def warped(x: Tensor, rms: float, random: torch.Generator) -> Tensor:
    """Images [N, C, H, W], each bent by a smooth random field whose root mean square is about `rms`
    pixels (compare Simard et al. 2003). A pixel takes the value of the one that it comes from, so
    binary images stay binary.
    """
    n, channels, height, width = x.shape
    knots = rms * torch.randn((n, 2, KNOTS, KNOTS), generator=random, device=x.device)
    field = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    down = torch.arange(height, device=x.device)[:, None] + field[:, 0]
    right = torch.arange(width, device=x.device) + field[:, 1]
    rows, columns = down.round().clamp(0, height - 1), right.round().clamp(0, width - 1)
    places = (rows * width + columns).long().flatten(1)[:, None].expand(-1, channels, -1)
    return x.flatten(2).gather(2, places).view_as(x)
