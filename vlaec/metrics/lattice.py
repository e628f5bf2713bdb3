"""How much of a picture repeats every few pixels: a loss on the grid that pixel-shuffle leaves.

The last layers draw every 4 x 4 pixels alike, and those before them every 8 x 8, so the cheapest
way to the energy that a texture should have is one pattern, repeated: dots on a lattice where
leaves or water should be. Bands of frequencies do not tell it from texture. Means over the places
of equal position within a period do: those of texture are near one another, those of a lattice are
the pattern.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .variance import box, by_shares, opponent_planes

# Periods of the last two pixel-shuffles, and half of that: the finest pattern there is. To each the
# pixels on one side of a neighbourhood: means over few places differ by chance.
NEIGHBOURHOODS = {2: 32, 4: 32, 8: 64}
PERIODS = tuple(NEIGHBOURHOODS)
# Pixels between neighbourhoods.
STEP = 16
# The variance of a fifth of a grey level: less is not seen in the means.
FLOOR = (0.2 / 255) ** 2


def log_repetition(x: Tensor, period: int) -> Tensor:
    """Log variance, over the positions within a period, of the mean of luma and colour over all
    places of that position around every place.

    Args:
        x: [N, 3, H, W] in [0, 1], H and W at least the period's neighbourhood + 2 periods.
        period: one of PERIODS, in pixels.

    Returns:
        [N, 3, h, w].

    Raises:
        ValueError: a picture that is too small.
    """
    least = NEIGHBOURHOODS[period] + 2 * period
    if min(x.shape[2:]) < least:
        raise ValueError(f"what repeats every {period} pixels needs {least} of them")
    with torch.autocast(x.device.type, enabled=False):
        planes = opponent_planes(x - 0.5)[:, 0]  # [3 N, H, W]
        # Without what is slower than a period: slopes are not patterns.
        smooth = box(planes, period)
        height, width = (size // STEP * STEP for size in smooth.shape[1:])
        first = period // 2
        sharp = planes[:, first : first + height, first : first + width]
        sharp = sharp - smooth[:, :height, :width]
        # Means over the cells of blocks of STEP pixels, then over the blocks of a neighbourhood.
        cells = sharp.unflatten(2, (-1, STEP // period, period))
        cells = cells.unflatten(1, (-1, STEP // period, period)).mean((2, 5))
        blocks = cells.permute(0, 2, 4, 1, 3).flatten(1, 2)  # [3 N, period^2, H/STEP, W/STEP]
        means = box(blocks, NEIGHBOURHOODS[period] // STEP)
        variance = means.var(1, correction=0)  # [3 N, h, w]
        return (variance + FLOOR).log().unflatten(0, (-1, 3))


def lattice_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of `log_repetition` of two batches [N, 3, H, W] over PERIODS,
    colours weighted by SHARES; [N], in nats."""
    differences = [
        (log_repetition(a, period) - log_repetition(b, period)).abs().mean((2, 3))  # [N, 3]
        for period in PERIODS
    ]
    return by_shares(torch.stack(differences).mean(0))
