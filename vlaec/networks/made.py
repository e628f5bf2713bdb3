"""Masked autoencoders (MADE, Germain et al. 2015): element i of the output sees elements < i.

As 1x1 convolutions on [N, D, 1, 1], so that `mask * weight` is an ordinary convolution with an
exact form on the fixed grid.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedConv(nn.Conv2d):
    """A 1x1 convolution whose weight is multiplied by a mask of 0 and 1, [out, in]."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        outputs, inputs = mask.shape
        super().__init__(inputs, outputs, 1)
        # Follows from the sizes, so it does not belong into a weights file.
        self.register_buffer("mask", mask.float()[:, :, None, None], persistent=False)

    @property
    def masked_weight(self) -> Tensor:
        """What is applied, [out, in, 1, 1]."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, 1, 1] -> [N, out, 1, 1]."""
        return F.conv2d(x, self.masked_weight, self.bias)


class MADE(nn.Module):
    """Two numbers for each of D elements, from the elements before it.

    `network` is a stack of masked convolutions with ReLU in between, `direct` a linear connection
    next to it; the output is their sum, and starts as zero.
    """

    def __init__(self, size: int, hidden: int, depth: int, context: int = 0) -> None:
        """`context` is the size of what every element also sees, 0 for nothing."""
        super().__init__()
        order = torch.arange(size)
        # A hidden unit of degree d sees the elements <= d; one of degree -1 sees the context alone.
        # Units are dealt out evenly over all degrees but the last, which no output could use.
        lowest = -1 if context else 0
        degrees = lowest + torch.arange(hidden) * max(size - 1 - lowest, 1) // hidden
        layers: list[nn.Module] = [MaskedConv(degrees[:, None] >= order)]
        layers += [MaskedConv(degrees[:, None] >= degrees) for _ in range(depth - 1)]
        outputs = order.repeat(2)
        layers.append(MaskedConv(outputs[:, None] > degrees))
        self.network = nn.Sequential(*_with_relu(layers))
        self.direct = MaskedConv(outputs[:, None] > order)
        for last in (layers[-1], self.direct):
            assert isinstance(last, MaskedConv) and last.bias is not None
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
        self.context = nn.Conv2d(context, hidden, 1) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[N, D, 1, 1] (and the context [N, context, 1, 1]) -> two of [N, D, 1, 1]."""
        hidden = self.network[0](x)  # [N, hidden, 1, 1]
        if self.context is not None:
            assert context is not None
            hidden = hidden + self.context(context)
        out: Tensor = self.network[1:](hidden) + self.direct(x)
        first, second = out.float().chunk(2, 1)
        return first, second


def _with_relu(layers: list[nn.Module]) -> list[nn.Module]:
    """`layers` with a ReLU between each two."""
    pairs = [part for layer, _ in pairwise(layers) for part in (layer, nn.ReLU())]
    return [*pairs, layers[-1]]
