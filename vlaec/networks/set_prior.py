"""Priors of z for set models: p(z) = prod N(z_i; mean(z_<i), scale(z_<i)).

All are autoregressive flows of one affine step, whose conditionals a coder can walk: element by
element (MADE), in groups of channel slices x checkerboard parity (as the photo model's prior, but
without a hyper-latent), or all at once (independent Gaussians). The density takes one pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..coding.gaussian import SCALE_LOG_MAX, SCALE_LOG_MIN
from .blocks import ResidualBlock, parity_mask
from .config import Group
from .made import MADE
from .set_config import SetConfig
from .set_units import LATENT_UNIT, LOG_SCALE_START

Conditionals = tuple[Tensor, Tensor]  # mean and log scale, each [N, C, h, w]


class SetPrior(nn.Module):
    """`steps[i]` holds the indices into C * h * w of what step i codes, in decoding order."""

    steps: list[Tensor]

    def conditionals(self, z: Tensor) -> Conditionals:
        """Mean and log scale of every element of z [N, C, h, w] given the steps before its own."""
        raise NotImplementedError

    def step(self, index: int, z: Tensor) -> Conditionals:
        """`conditionals` of `steps[index]` alone, [N, len(steps[index])] each; elements of z
        [N, C, h, w] from that step on may be anything."""
        mean, log_scale = self.conditionals(z)
        cells = self.steps[index]
        return mean.flatten(1)[:, cells], log_scale.flatten(1)[:, cells]


class MadePrior(SetPrior):
    """One element per step."""

    def __init__(self, config: SetConfig) -> None:
        super().__init__()
        c, h, w = config.latent_shape
        self.made = MADE(c * h * w, config.made_hidden, config.made_depth)
        self.steps = list(torch.arange(c * h * w).split(1))

    def conditionals(self, z: Tensor) -> Conditionals:
        """[N, C, h, w] -> mean and log scale of the same shape."""
        flat = z.flatten(1)[:, :, None, None] / LATENT_UNIT  # [N, C h w, 1, 1]
        first, second = self.made(flat)
        return as_gaussian(first.reshape(z.shape), second.reshape(z.shape))


class GroupPrior(SetPrior):
    """Channel slices x checkerboard parity; one network per group, in `networks`."""

    def __init__(self, config: SetConfig) -> None:
        super().__init__()
        c, h, w = config.latent_shape
        size = c // config.slices
        self.groups = [
            Group(2 * s + parity, s * size, (s + 1) * size, parity, uses_hyper=False)
            for s in range(config.slices)
            for parity in (0, 1)
        ]
        self.networks = nn.ModuleList(
            _group_network(group.stop, config.group_hidden, 2 * size) for group in self.groups
        )
        cells = torch.arange(c * h * w).reshape(c, h, w)
        self.steps = [
            cells[g.start : g.stop, parity_mask(h, w, g.parity)].flatten() for g in self.groups
        ]

    def conditionals(self, z: Tensor) -> Conditionals:
        """[N, C, h, w] -> mean and log scale of the same shape."""
        outputs = [self.outputs(group, z) for group in self.groups]  # [N, 2 size, h, w] each
        even = parity_mask(z.shape[2], z.shape[3], 0, z.device)
        slices = [
            torch.where(even, *pair).float().chunk(2, 1)
            for pair in zip(outputs[::2], outputs[1::2], strict=True)
        ]
        firsts, seconds = zip(*slices, strict=True)
        return as_gaussian(torch.cat(firsts, 1), torch.cat(seconds, 1))

    def step(self, index: int, z: Tensor) -> Conditionals:
        """As in `SetPrior`, by one network instead of all."""
        group = self.groups[index]
        first, second = self.outputs(group, z).float().chunk(2, 1)
        parity_cells = parity_mask(z.shape[2], z.shape[3], group.parity, z.device)
        mean, log_scale = as_gaussian(first[:, :, parity_cells], second[:, :, parity_cells])
        return mean.flatten(1), log_scale.flatten(1)

    def outputs(self, group: Group, z: Tensor) -> Tensor:
        """What the group's network says, [N, 2 (stop - start), h, w]: of use in its own cells."""
        out: Tensor = self.networks[group.index](self.context_of(group, z) / LATENT_UNIT)
        return out

    def context_of(self, group: Group, z: Tensor) -> Tensor:
        """z as `group` sees it, [N, group.stop, h, w]: what is not known yet is 0."""
        even = parity_mask(z.shape[2], z.shape[3], 0, z.device)
        parity_cells = z[:, group.start : group.stop] * (even * group.parity)
        return torch.cat([z[:, : group.start], parity_cells], 1)


class GaussianPrior(SetPrior):
    """Independent elements, all in one step."""

    def __init__(self, config: SetConfig) -> None:
        super().__init__()
        c, h, w = config.latent_shape
        self.mean = nn.Parameter(torch.zeros(c, h, w))
        self.log_scale = nn.Parameter(torch.zeros(c, h, w))
        self.steps = [torch.arange(c * h * w)]

    def conditionals(self, z: Tensor) -> Conditionals:
        """[N, C, h, w] -> mean and log scale of the same shape, whatever z is."""
        return as_gaussian(self.mean.expand(z.shape), self.log_scale.expand(z.shape))


def as_gaussian(first: Tensor, second: Tensor) -> Conditionals:
    """Mean and log scale in cells of z's grid from what a network says of them."""
    log_scale = (second + LOG_SCALE_START).clamp(SCALE_LOG_MIN, SCALE_LOG_MAX)
    return first * LATENT_UNIT, log_scale


def make_prior(config: SetConfig) -> SetPrior:
    """The prior that a configuration names."""
    kinds = {"made": MadePrior, "groups": GroupPrior, "gaussian": GaussianPrior}
    return kinds[config.prior](config)


def _group_network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    last = nn.Conv2d(hidden, outputs, 1)
    assert last.bias is not None
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    first = nn.Conv2d(inputs, hidden, 3, padding=1)
    return nn.Sequential(first, ResidualBlock(hidden), nn.ReLU(), last)
