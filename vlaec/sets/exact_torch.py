"""Set models on the fixed grid: the trained module itself, with exact convolutions put in.

What lies between two convolutions (sums, clamps, ReLU, shuffles, powers of two) treats elements
one by one and so gives the same bits everywhere. A convolution sums, and float sums depend on
their order; `ExactConv` sums multiples of 2^-28 below 2^25, as `coding.exact` explains. With
every convolution replaced, the model computes the same on every machine, for any batch.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..coding.exact import ACTIVATION_BOUND, ACTIVATION_GRID, WEIGHT_GRID, GridError
from ..networks.made import MaskedConv
from ..networks.sets import SetVLAE

# Columns per matrix product: they stay in the cache, and no result depends on their number.
COLUMNS = 2048


class ExactConv(nn.Module):
    """A convolution of odd kernel with zero padding, [N, C, H, W] float64 -> [N, C', H, W].

    The input is rounded to the activation grid and clamped; so is the output.

    Raises:
        GridError: a sum could exceed what float64 holds exactly.
        TypeError: a convolution of another kind.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        kernel = conv.kernel_size[0]
        plain = conv.stride == (1, 1) and conv.groups == 1 and conv.dilation == (1, 1)
        if not plain or conv.padding != (kernel // 2, kernel // 2) or conv.bias is None:
            raise TypeError(f"no exact form of {conv}")
        used = conv.masked_weight if isinstance(conv, MaskedConv) else conv.weight
        taps = used.detach().double().flatten(2).permute(2, 0, 1)  # [k * k, out, in]
        self.kernel = kernel
        self.register_buffer("weight", _round_weight(taps))
        self.register_buffer("bias", _round_weight(conv.bias.detach().double())[:, None])
        largest = self.weight.abs().sum((0, 2)) * ACTIVATION_BOUND + self.bias[:, 0].abs()
        if not bool((largest < 2.0**25).all()):
            raise GridError("the weights are too large for exact arithmetic")

    def forward(self, x: Tensor) -> Tensor:
        """As matrix products over all images at once: no sums but those of exact products."""
        n, _, height, width = x.shape
        margin = self.kernel // 2
        wide = width + 2 * margin
        # Channels first, and images and rows one after the other: then each tap of the window is
        # the same matrix, some columns later. The columns between images and rows are waste.
        padded = F.pad(to_grid(x).transpose(0, 1), (margin,) * 4)  # [C, N, H', W']
        flat = F.pad(padded.flatten(1), (0, 2 * margin * (wide + 1)))
        columns = padded[0].numel()
        out = flat.new_empty(len(self.bias), columns)
        for start in range(0, columns, COLUMNS):
            stop = min(start + COLUMNS, columns)
            part = self.bias.expand(-1, stop - start)
            for tap, weight in enumerate(self.weight):
                shift = tap // self.kernel * wide + tap % self.kernel
                part = torch.addmm(part, weight, flat[:, start + shift : stop + shift])
            out[:, start:stop] = to_grid(part)
        valid = out.view(-1, n, height + 2 * margin, wide)[:, :, :height, :width]
        return valid.transpose(0, 1)


def exact_copy(model: SetVLAE) -> SetVLAE:
    """A copy of `model` in float64 whose every convolution is an `ExactConv`.

    Its methods take float64 and give values that every machine computes alike.

    Raises:
        GridError: weights too large.
        TypeError: a layer without an exact form.
    """
    exact = copy.deepcopy(model).double().eval().requires_grad_(False)
    for module in list(exact.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(module, name, ExactConv(child))
    for parameter in exact.parameters():  # what is left: constants that enter as activations do
        parameter.copy_(to_grid(parameter))
    return exact


def to_grid(x: Tensor) -> Tensor:
    """Round to the activation grid and clamp."""
    scaled = (x * ACTIVATION_GRID).round_()
    return scaled.mul_(1 / ACTIVATION_GRID).clamp_(-ACTIVATION_BOUND, ACTIVATION_BOUND)


def _round_weight(weight: Tensor) -> Tensor:
    return (weight * WEIGHT_GRID).round() / WEIGHT_GRID
