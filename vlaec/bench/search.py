"""Levels by size: the level of a codec whose file of a picture is nearest to a rate."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping

import numpy as np

from .codecs import Codec

CLOSE = 0.01  # of the rate: a file within it counts as equal
_STEPS = 12


def bits_per_pixel(data: bytes, image: np.ndarray) -> float:
    """Rate of a file of `image`, `[H, W, 3]`."""
    return 8 * len(data) / (image.shape[0] * image.shape[1])


def match_rate(
    codec: Codec,
    image: np.ndarray,
    bpp: float,
    close: float = CLOSE,
    files: Mapping[float, bytes] | None = None,
) -> tuple[float, bytes]:
    """The level, within the codec's limits, whose file is nearest to `bpp`, and the file.

    Secant steps on the logarithm of the rate, inside a bracket that always shrinks. Codecs with
    whole levels end at the nearer of two neighbours.

    Args:
        close: share of the rate that is near enough.
        files: files of the same picture that are there already, by level.
    """
    tried = dict(files or {})

    def miss(level: float) -> float:
        """Logarithm of the rate over the wanted one."""
        if level not in tried:
            tried[level] = codec.encode(image, level)
        return math.log(bits_per_pixel(tried[level], image) / bpp)

    def nearest() -> float:
        return min(tried, key=lambda level: abs(miss(level)))

    grid = _rising(codec, tried)
    above = bisect.bisect_left(grid, 0.0, key=miss)  # tries few of them
    if above in (0, len(grid)):  # beyond the smallest or the largest file
        return nearest(), tried[nearest()]
    small, large = grid[above - 1], grid[above]
    for turn in range(_STEPS):
        if abs(miss(nearest())) <= math.log1p(close) or abs(large - small) <= _step(codec):
            break
        # Now and then the middle: a secant may creep along a bent curve.
        share = miss(small) / (miss(small) - miss(large)) if turn % 3 < 2 else 0.5
        level = small + min(0.9, max(0.1, share)) * (large - small)
        if codec.integer:
            low, high = sorted((small, large))
            level = min(high - 1, max(low + 1, round(level)))
        small, large = (level, large) if miss(level) < 0 else (small, level)
    return nearest(), tried[nearest()]


def _step(codec: Codec) -> float:
    return 1.0 if codec.integer else 0.01


def _rising(codec: Codec, files: Mapping[float, bytes]) -> list[float]:
    """Usual levels, levels of `files` and limits, from the smallest file to the largest."""
    smallest, largest = codec.limits
    levels = sorted({smallest, largest, *codec.levels, *files})
    return levels if largest >= smallest else levels[::-1]
