"""The prior of z: an autoregressive flow over coding groups, conditioned on a hyper-latent w.

z = mu(z_<) + sigma(z_<) * eps, one affine step per group (Chen et al. 2016, section 3.2); groups
are channel slices (Minnen & Singh 2020) times checkerboard parity (He et al. 2021). The density
takes one parallel pass, sampling or decoding one pass per group. The last slice does not see w,
so its bits can seed the bits-back coding of w (Yang et al. 2020).

Only 1x1 and 3x3 convolutions, ReLU and (un)shuffles are used: `photo.exact_prior` re-runs the same
modules on a fixed grid, where every machine gets the same probabilities.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..coding.gaussian import HYPER_LOG_MIN, SCALE_LOG_MAX, SCALE_LOG_MIN
from .blocks import parity_mask
from .config import HYPER_INPUT_SCALE, LATENT_INPUT_SCALE, Group, PhotoConfig, coding_groups


class PriorOutput(NamedTuple):
    """What the prior says of a batch during training."""

    mean: Tensor  # [N, C, h, w]
    log_scale: Tensor  # [N, C, h, w]
    latent_bits: Tensor  # [N]
    hyper_bits: Tensor  # [N], KL(q(w | z_early) || p(w))


def _network(*sizes: int, kernel: int) -> nn.Sequential:
    """Convolutions between `sizes` with ReLU in between; the first is kernel x kernel."""
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        k = kernel if i == 0 else 1
        if layers:
            layers.append(nn.ReLU())
        layers.append(nn.Conv2d(fan_in, fan_out, k, padding=k // 2))
    last = layers[-1]
    assert isinstance(last, nn.Conv2d)
    nn.init.normal_(last.weight, std=0.01)
    return nn.Sequential(*layers)


class Prior(nn.Module):
    """p(w), q(w | z_early), p(z | w)."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        c, hidden, hyper = config, config.hyper_hidden, config.hyper_channels
        self.groups = coding_groups(config)
        self.early_channels = config.early_channels
        self.hyper_analysis = nn.Sequential(  # stride 16 -> 64
            nn.Conv2d(c.early_channels, hidden, 3, padding=1),
            nn.ReLU(),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * hidden, 2 * hyper, 1),
        )
        self.hyper_synthesis = nn.Sequential(  # stride 64 -> 16
            nn.Conv2d(hyper + c.levels, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, 4 * hidden, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, 4 * c.hyper_features, 1),
            nn.PixelShuffle(2),
        )
        self.parameters_of = nn.ModuleList(
            _network(
                (c.hyper_features if g.uses_hyper else 0) + c.levels + g.stop,
                c.group_hidden,
                c.group_hidden,
                2 * c.slice_channels,
                kernel=3,
            )
            for g in self.groups
        )
        self.hyper_mean = nn.Parameter(torch.zeros(hyper))
        # What each level adds to the log scale of every channel: gains that grow with the quality
        # widen z by as much, which the networks above would have to learn.
        self.level_scale = (
            nn.Parameter(torch.zeros(c.levels, c.latent_channels)) if c.level_path else None
        )
        self.hyper_log_scale = nn.Parameter(torch.full((hyper,), 2.0))

    def forward(self, z: Tensor, noisy: Tensor, levels: Tensor, noise: Tensor) -> PriorOutput:
        """Rates in one parallel pass.

        Args:
            z: [N, C, h, w] rounded latent (straight-through), the context.
            noisy: [N, C, h, w] latent with uniform noise, whose density is the rate
                (Balle et al. 2018).
            levels: [N, levels] from `level_weights`.
            noise: of w, see `draw_noise`.
        """
        features, hyper_bits = self.side_information(z, levels, noise)
        mean, log_scale = self.conditionals(z, features, levels)
        bits = gaussian_bits(noisy, mean, log_scale.exp()).flatten(1).sum(1)
        return PriorOutput(mean, log_scale, bits, hyper_bits)

    def draw_noise(self, z: Tensor, random: torch.Generator) -> Tensor:
        """Noise of w for latents [N, C, h, w]: normal, [N, hyper, ceil(h/4), ceil(w/4)]."""
        h, w = (-(-side // 4) for side in z.shape[2:])
        shape = (len(z), len(self.hyper_mean), h, w)
        return torch.randn(shape, generator=random, device=z.device)

    def side_information(self, z: Tensor, levels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What the early groups see of a w drawn from its posterior by `noise`, and what w costs.

        Returns:
            [N, hyper_features, h, w], and KL(q(w | z_early) || p(w)) in bits, [N].
        """
        q_mean, q_log_scale = self.posterior(z[:, : self.early_channels])
        hyper = q_mean + q_log_scale.exp() * noise
        kl = gaussian_kl(
            q_mean,
            q_log_scale,
            self.hyper_mean[:, None, None],
            self.hyper_log_scale[:, None, None].clamp(HYPER_LOG_MIN, SCALE_LOG_MAX),
        )
        features = self.features(hyper, levels, *z.shape[2:])
        return features, kl.flatten(1).sum(1) / math.log(2)

    def features(self, hyper: Tensor, levels: Tensor, height: int, width: int) -> Tensor:
        """What the early groups of z [N, C, height, width] see of w: [N, features, ...]."""
        planes = levels[:, :, None, None].expand(-1, -1, *hyper.shape[2:])  # [N, levels, ...]
        out: Tensor = self.hyper_synthesis(torch.cat([hyper * HYPER_INPUT_SCALE, planes], 1))
        return out[:, :, :height, :width].relu()

    def conditionals(self, z: Tensor, features: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of every element of z given the groups before its own.

        `features` is what `side_information` returns; both results are [N, C, h, w].
        """
        h, w = z.shape[2:]
        planes = levels[:, :, None, None].expand(-1, -1, h, w)  # [N, levels, h, w]
        means, log_scales = [], []
        even = parity_mask(h, w, 0, z.device)
        for first in self.groups[::2]:
            parts = []
            for group in self.groups[first.index : first.index + 2]:
                side = [features, planes] if group.uses_hyper else [planes]
                context_of = self.context_of(group, z, even) * LATENT_INPUT_SCALE
                context = torch.cat([*side, context_of], 1)
                parts.append(self.parameters_of[group.index](context).chunk(2, 1))
            means.append(torch.where(even, parts[0][0], parts[1][0]))
            log_scales.append(torch.where(even, parts[0][1], parts[1][1]))
        log_scale = torch.cat(log_scales, 1)
        if self.level_scale is not None:
            log_scale = log_scale + (levels @ self.level_scale)[:, :, None, None]
        return torch.cat(means, 1), log_scale.clamp(SCALE_LOG_MIN, SCALE_LOG_MAX)

    def context_of(self, group: Group, z: Tensor, even: Tensor) -> Tensor:
        """z as `group` sees it, [N, group.stop, h, w]: what is not known yet is 0."""
        half = z[:, group.start : group.stop] * (even * group.parity)
        return torch.cat([z[:, : group.start], half], 1)

    def posterior(self, early: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of q(w | z_early), each [N, hyper, ceil(h/4), ceil(w/4)]."""
        h, w = early.shape[2:]
        padded = F.pad(early * LATENT_INPUT_SCALE, (0, -w % 4, 0, -h % 4))
        mean, log_scale = self.hyper_analysis(padded).chunk(2, 1)
        return mean, log_scale.clamp(HYPER_LOG_MIN, SCALE_LOG_MAX)


def gaussian_bits(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """-log2 of the Gaussian's mass on [x - 1/2, x + 1/2], elementwise."""
    distance = (x - mean).abs()
    # In logarithms, so that a value far in the tail still has a gradient.
    upper = torch.special.log_ndtr((0.5 - distance) / scale)
    lower = torch.special.log_ndtr((-0.5 - distance) / scale)
    log_mass = upper + torch.log(-torch.expm1((lower - upper).clamp_max(-1e-6)))
    return -log_mass / math.log(2)


def gaussian_kl(mean_q: Tensor, log_q: Tensor, mean_p: Tensor, log_p: Tensor) -> Tensor:
    """KL(N(mean_q, exp(log_q)^2) || N(mean_p, exp(log_p)^2)) in nats, elementwise."""
    ratio = (2 * (log_q - log_p)).exp()
    shift = ((mean_q - mean_p) * (-log_p).exp()) ** 2
    return 0.5 * (ratio + shift - 1) + log_p - log_q
