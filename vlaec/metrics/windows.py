"""Wasserstein distortion as a training loss: windows that follow the picture, in cheap block means.

Windows are wide where the receiver's mean lost the texture, and one pixel where the mean knows
what is there (edges, flat areas). Tight windows punish chance like LPIPS: a sampler trained on
those stops sampling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .perceptual import LPIPS
from .wasserstein import PIXEL_SCALE, STAGES

# Log2 of the widest window, and how fast windows widen with the share of energy that was lost. With
# 4 in place of 12 the sampler kept an eighth less texture; without `detail` it fell silent.
TOP_LEVEL = 3
GAIN = 12.0
VARIANCE_FLOOR = 1e-6
# Mean variance of the maps of 64 photographic crops: pixels, four stages at full and at half size.
VARIANCES = (0.613, 1.168, 2.397, 2.145, 0.184, 1.404, 2.842, 2.758, 0.232)
LUMA = (0.299, 0.587, 0.114)


class FeatureMaps(nn.Module):
    """The maps that are compared: pixels, and VGG16's first four stages at full and half size."""

    def __init__(self, vgg: LPIPS) -> None:
        super().__init__()
        self.net = vgg.net

    def forward(self, x: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` in [0, 1], sides 32 and more, to nine maps `[N, C, h, w]` in float32."""
        maps = [(x.float() - 0.5) / PIXEL_SCALE]
        for picture in (x, F.avg_pool2d(x, 2)):
            maps += [m.float() for m in self.net(picture, pool=_mean_pool, stages=STAGES)]
        return maps


def _mean_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def scales(maps: Sequence[Tensor]) -> list[Tensor]:
    """The unit [N] of each map: between the variances of a photograph's map and of this one."""
    return [
        (typical * m.var((2, 3)).mean(1) + 1e-8).sqrt()
        for typical, m in zip(VARIANCES, maps, strict=True)
    ]


def window_levels(x: Tensor, mean: Tensor) -> Tensor:
    """Log2 of the window at every pixel, [N, 1, H, W] in 0..TOP_LEVEL.

    Args:
        x: [N, 3, H, W], the original in [0, 1].
        mean: [N, 3, H, W], the receiver's picture without texture.
    """
    with torch.autocast(x.device.type, enabled=False):
        kept, lost = _luma(mean.float()), _luma(x.float() - mean.float())
        sharp = kept - _box(_box(kept, 17), 17)
        lost_energy, known_energy = (_box(_box(t.square(), 9), 9) for t in (lost, sharp))
        share = lost_energy / (lost_energy + known_energy + (1 / 255) ** 2)
        return (GAIN * share).clamp(0, TOP_LEVEL)


def window_distance(
    target: Sequence[Tensor], maps: Sequence[Tensor], levels: Tensor, units: Sequence[Tensor]
) -> Tensor:
    """Distances [N] of `maps` from maps of the target, the mean over maps.

    Args:
        target, maps: lists of [N, C, h, w].
        levels: [N, 1, H, W], see `window_levels`.
        units: lists of [N], see `scales`.
    """
    with torch.autocast(levels.device.type, enabled=False):
        parts = [
            _map_distance(a, b, levels) / unit
            for a, b, unit in zip(target, maps, units, strict=True)
        ]
        return torch.stack(parts).mean(0)


def _map_distance(a: Tensor, b: Tensor, levels: Tensor) -> Tensor:
    """Squared differences of means and of deviations in windows of 2^(k + 1) at steps of 2^k."""
    side = min(a.shape[2:])
    most = max(0, min(TOP_LEVEL, int(math.log2(side) - 1.5)))
    if a.shape[2:] != levels.shape[2:]:
        levels = F.adaptive_avg_pool2d(levels, (a.shape[2], a.shape[3]))
    levels = levels.clamp(max=most)
    apart = (a - b).square().mean(1, keepdim=True)
    total = (apart * (1 - levels).clamp_min(0)).mean((1, 2, 3))
    means_a, squares_a, means_b, squares_b = a, a.square(), b, b.square()
    for k in range(1, most + 1):
        means_a, squares_a = F.avg_pool2d(means_a, 2), F.avg_pool2d(squares_a, 2)
        means_b, squares_b = F.avg_pool2d(means_b, 2), F.avg_pool2d(squares_b, 2)
        levels = F.avg_pool2d(levels, 2)
        weight = (1 - (F.avg_pool2d(levels, 2, 1) - k).abs()).clamp_min(0)
        mean_a, deviation_a = _statistics(means_a, squares_a)
        mean_b, deviation_b = _statistics(means_b, squares_b)
        apart = (mean_a - mean_b).square() + (deviation_a - deviation_b).square()
        total = total + (apart.mean(1, keepdim=True) * weight).mean((1, 2, 3))
    return total


def _statistics(means: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Means and deviations of all squares of 2 x 2 blocks, from means and squares of blocks."""
    mean, square = F.avg_pool2d(means, 2, 1), F.avg_pool2d(squares, 2, 1)
    return mean, ((square - mean.square()).clamp_min(0) + VARIANCE_FLOOR).sqrt()


def _luma(x: Tensor) -> Tensor:
    """[N, 3, H, W] -> [N, 1, H, W]."""
    red, green, blue = x.split(1, 1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _box(x: Tensor, side: int) -> Tensor:
    """Mean over the square of `side` pixels around each pixel, of those within the picture."""
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)
