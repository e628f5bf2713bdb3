"""The energy score: a loss that a sampler minimises only by sampling from the true distribution.

Of two samples s and s' it is d(s, x) - d(s, s') / 2: nearness to the original is paid for, and so
is being unlike another sample. Every other loss here is indifferent to chance at best.

Sources: Gneiting & Raftery 2007, "Strictly Proper Scoring Rules"; Bouchacourt et al. 2016, "DISCO
Nets"; Gritsenko et al. 2020, "A Spectral Energy Distance for Parallel Speech Synthesis".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Channels whose squared differences are added at a place before the root is taken.
GROUP = 16
FLOOR = 1e-4


def energy_score(
    target: Sequence[Tensor],
    one: Sequence[Tensor],
    other: Sequence[Tensor],
    units: Sequence[Tensor],
) -> Tensor:
    """Scores [N] of pairs of samples: the mean over lists of maps [N, C, h, w].

    Args:
        target: maps of the original.
        one, other: maps of two samples.
        units: lists of [N], the scale of each map's squared differences.
    """
    parts = []
    for x, a, b, unit in zip(target, one, other, units, strict=True):
        near = _distance(a, x, unit) + _distance(b, x, unit)
        parts.append((near - _distance(a, b, unit)) / 2)
    return torch.stack(parts).mean(0)


def _distance(a: Tensor, b: Tensor, unit: Tensor) -> Tensor:
    """Mean root of the mean squared difference of groups of channels, [N]."""
    with torch.autocast(a.device.type, enabled=False):
        channels = a.shape[1]
        group = GROUP if channels % GROUP == 0 else channels
        square = (a - b).square().unflatten(1, (channels // group, group)).mean(2)
        return (square / unit[:, None, None, None] + FLOOR).sqrt().mean((1, 2, 3))
