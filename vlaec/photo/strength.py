"""How much texture a file asks for: as much as leaves the picture no farther from the original.

Texture is trained on photographs. On drawings it can be worse than none: the grain that a model
gives to every clean area shows on a flat one and between letters. The encoder knows the original,
so it decodes a few windows with texture of several strengths and compares how much they vary around
each pixel with how much the original does (`variance_distance`, as `metrics.variance` in torch).
Two windows at a time: on most photographs the first two leave no doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..networks.config import STRIDE

STRENGTHS = (1.0, 0.75, 0.5, 0.25)
# Windows in all, spread over the picture, and latents on a side of each: they bound the time.
WINDOWS = 8
SIDE = 6
# Windows that are decoded together, and when no more are: once full texture is better by this many
# standard errors, of windows that spread by LEAST_SPREAD nats at least.
TOGETHER = 2
CONFIDENCE = 1.5
LEAST_SPREAD = 0.05
# Pixels at a window's edge that are not compared: their latents see other neighbours than in the
# picture.
EDGE = STRIDE

# Pixels on one side of what is around a pixel, and the variance below which none is seen; the
# reasons are in `metrics.variance`.
WINDOW = 5
FLOOR = (0.5 / 255) ** 2
OPPONENT = np.array(
    [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32
)
SHARES = np.array([0.5, 0.25, 0.25], np.float32)

Corner = tuple[int, int]  # top and left latent of a window
# What a decoder makes of N windows of latents, of given height and width: the mean and all that
# texture adds to it, [N, 3, 16 h - 2 EDGE, 16 w - 2 EDGE] each.
Decode = Callable[[list[Corner], tuple[int, int]], tuple[np.ndarray, np.ndarray]]
Distance = Callable[[float], float]  # of a picture with texture of this strength


def choose_strength(rgb: np.ndarray, shape: tuple[int, int], decode: Decode) -> float:
    """Strength of texture, 0..1: the highest at which the picture's local variances are no farther
    from the original's than with none.

    Args:
        rgb: the original [H, W, 3] uint8.
        shape: height and width of its latents.
        decode: what a decoder makes of some of them.
    """
    height, width = shape
    if STRIDE * min(shape) <= 3 * EDGE:
        return 1.0  # too small to be compared
    side = (min(SIDE, height), min(SIDE, width))
    inner = (slice(None), slice(EDGE, -EDGE), slice(EDGE, -EDGE))
    corners = _corners(height, width)
    parts = -(-len(corners) // TOGETHER)
    distances: list[Distance] = []  # of each window
    gains: list[float] = []
    for part in range(parts):
        some = corners[part::parts]  # far apart
        for (top, left), *shown in zip(some, *decode(some, side), strict=True):
            truth = log_variances(_original(rgb, top, left, side)[inner])
            distances.append(partial(_distance, truth, *shown))
            gains.append(distances[-1](0.0) - distances[-1](STRENGTHS[0]))
        spread = max(LEAST_SPREAD, float(np.std(gains))) / np.sqrt(len(gains))
        if len(gains) >= TOGETHER and np.mean(gains) > CONFIDENCE * spread:
            return STRENGTHS[0]
    none, *others = (sum(d(strength) for d in distances) for strength in (0.0, *STRENGTHS))
    return next((s for s, d in zip(STRENGTHS, others, strict=True) if d <= none), 0.0)


def _distance(truth: np.ndarray, mean: np.ndarray, texture: np.ndarray, strength: float) -> float:
    """How far a picture [3, H, W] with that much texture is from log variances of the original."""
    picture = np.clip(np.rint((mean + np.float32(strength) * texture) * 255), 0, 255)
    by_plane = np.abs(log_variances(picture / np.float32(255)) - truth).mean((1, 2))
    return float(by_plane @ SHARES)


def log_variances(x: np.ndarray) -> np.ndarray:
    """Log variance of luma and colour in the WINDOW x WINDOW pixels around each.

    Args:
        x: [3, H, W] in [0, 1], H and W at least WINDOW.

    Returns:
        [3, H - WINDOW + 1, W - WINDOW + 1].
    """
    planes = np.tensordot(OPPONENT, x - np.float32(0.5), 1)  # near 0, where squares keep digits
    mean, square = (_means(p) for p in (planes, planes * planes))
    return np.log(np.maximum(square - mean * mean, 0) + np.float32(FLOOR))


def _means(planes: np.ndarray) -> np.ndarray:
    """Means of the windows of [C, H, W]."""
    for axis in (1, 2):
        size = planes.shape[axis] - WINDOW + 1
        parts = [planes.take(range(i, i + size), axis) for i in range(WINDOW)]
        planes = sum(parts[1:], parts[0])
    return planes / np.float32(WINDOW**2)


def _original(rgb: np.ndarray, top: int, left: int, side: tuple[int, int]) -> np.ndarray:
    """A window of the original, [3, 16 h, 16 w] in [0, 1], the last row and column repeated."""
    rows, columns = (
        np.minimum(STRIDE * start + np.arange(STRIDE * size), limit - 1)
        for start, size, limit in zip((top, left), side, rgb.shape, strict=False)
    )
    return rgb[rows[:, None], columns].transpose(2, 0, 1) / np.float32(255)


def _corners(height: int, width: int) -> list[Corner]:
    """Top left latents of at most WINDOWS windows, that do not overlap, on a picture's latents."""
    rows, columns = max(1, height // SIDE), max(1, width // SIDE)
    places = [(SIDE * row, SIDE * column) for row in range(rows) for column in range(columns)]
    evenly = np.linspace(0, len(places) - 1, min(WINDOWS, len(places))).round().astype(int)
    return [places[index] for index in evenly]
