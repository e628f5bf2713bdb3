"""How much detail a picture has at every scale: its radially averaged log power spectrum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

RINGS = 64
_LUMA = np.array([0.299, 0.587, 0.114])


def frequencies() -> np.ndarray:
    """Middle of every ring in cycles per pixel, [RINGS]."""
    return (np.arange(RINGS) + 0.5) / (2 * RINGS)


@lru_cache(maxsize=4)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ring of every frequency of the half plane [H, W / 2 + 1], flat, and the frequencies' count
    in each; the last ring is for what lies beyond half a cycle per pixel, and the mean."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    ring = np.minimum(np.hypot(fy, fx) * 2 * RINGS, RINGS).astype(np.int64)
    ring[0, 0] = RINGS
    return ring.ravel(), np.bincount(ring.ravel(), minlength=RINGS + 1)


def log_power(image: np.ndarray) -> np.ndarray:
    """Mean power of the luma of [H, W, 3] uint8 in each ring, in decibels, [RINGS].

    White noise of variance v is flat at 10 log10(v). A Hann window keeps the picture's borders,
    which do not fit each other, from drowning the high frequencies.
    """
    luma = image.astype(np.float64) @ _LUMA
    height, width = luma.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    luma = (luma - luma.mean()) * window
    power = np.abs(np.fft.rfft2(luma)).ravel() ** 2 / (window**2).sum()
    ring, count = _rings(height, width)
    total = np.bincount(ring, power, RINGS + 1)[:RINGS]
    # 1/12 is the power of rounding to 8 bits: nothing below it means anything.
    return 10 * np.log10(total / np.maximum(count[:RINGS], 1) + 1 / 12)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two log power spectra [RINGS], in decibels."""
    return float(np.abs(a - b).mean())
