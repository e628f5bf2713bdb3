"""Do sampled residuals look like true ones? Histograms, and the drift of block means.

A residual is picture - mean, [3, H, W], here in grey levels (0..255 scale). All sums run over the
photographs that were added, so the answer is one about the model and not about one photograph.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

GREY_LEVELS = np.arange(-255, 256)
BLOCK = 16
# A block whose mean is further out than this share of the true residuals' blocks is an outbreak.
CALM = 0.999


def histogram(residual: np.ndarray) -> np.ndarray:
    """Counts [3, 511] of the rounded values of a residual [3, H, W]; index 255 is zero."""
    cells = np.rint(residual).clip(-255, 255).astype(np.int64) + 255
    return np.stack([np.bincount(channel.ravel(), minlength=511) for channel in cells])


def total_variation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Half the sum of absolute differences of two sets of counts [..., bins]: 0 to 1, [...]."""
    distance: np.ndarray = 0.5 * np.abs(_shares(a) - _shares(b)).sum(-1)
    return distance


def wasserstein(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance, in bins, of two sets of counts [..., bins]: [...]."""
    distance: np.ndarray = np.abs((_shares(a) - _shares(b)).cumsum(-1)).sum(-1)
    return distance


def _shares(counts: np.ndarray) -> np.ndarray:
    shares: np.ndarray = counts / counts.sum(-1, keepdims=True)
    return shares


def block_means(residual: np.ndarray, size: int = BLOCK) -> np.ndarray:
    """Means over whole blocks of `size` x `size`: [3, H, W] -> [3, blocks]."""
    channels, height, width = residual.shape
    rows, columns = height // size, width // size
    whole = residual[:, : rows * size, : columns * size]
    means: np.ndarray = whole.reshape(channels, rows, size, columns, size).mean((2, 4))
    return means.reshape(channels, -1)


@dataclass
class Tally:
    """Residuals of many photographs, reduced to what is compared."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros((3, 511), np.int64))
    blocks: list[np.ndarray] = field(default_factory=list)  # [3, blocks] of each photograph

    def add(self, residual: np.ndarray) -> None:
        """Count the residual [3, H, W] of one more photograph."""
        self.counts += histogram(residual)
        self.blocks.append(block_means(residual))

    @property
    def deviation(self) -> np.ndarray:
        """Root mean square of the residual by channel, [3]."""
        root: np.ndarray = np.sqrt((_shares(self.counts) * GREY_LEVELS**2).sum(-1))
        return root

    @property
    def drift(self) -> np.ndarray:
        """Absolute block means of all channels and photographs, flat."""
        return np.abs(np.concatenate([means.ravel() for means in self.blocks]))


def compare(true: Tally, sampled: Tally) -> dict[str, object]:
    """How far `sampled` is from `true`, as JSON values; see the page for what they mean."""
    calm = float(np.quantile(true.drift, CALM))
    return {
        "deviation": _rounded(sampled.deviation),
        "true_deviation": _rounded(true.deviation),
        "total_variation": _rounded(total_variation(true.counts, sampled.counts)),
        "wasserstein": _rounded(wasserstein(true.counts, sampled.counts)),
        "drift": _rounded(np.quantile(sampled.drift, (0.5, 0.99, CALM, 1))),
        "true_drift": _rounded(np.quantile(true.drift, (0.5, 0.99, CALM, 1))),
        "outbreaks": float((sampled.drift > calm).mean()),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
