"""Sampling the PixelCNN along wavefronts: all pixels whose windows are complete, at once.

With a window that reaches h columns to the right in the rows above, all pixels with the same
x + (h + 1) y are independent, so an image takes W + (h + 1)(H - 1) steps instead of W H. The image
is cut into bands of BAND rows that do not see each other, as crops do not in training; they take
their steps together, in one thread: two of them wait for the interpreter's lock. The bands are part
of the format: a texture does not depend on how many of them are sampled at a time. What a step
computes is one of the model's graphs. `networks.wavefront` does the same in torch, for training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..coding.progress import Progress
from ..coding.window import wavefront_skew, window_offsets
from ..networks.config import PhotoConfig
from ..networks.texture import INPUT_SCALE, NOISE_BOUND, WINDOW_BOUND

BAND = 128
# Pixels of the bands that take their steps together: the more, the fewer steps in all.
PIXELS_SAMPLED = 2**20
CHANNELS = 3

# Residuals [n, 3] on the [0, 1] scale of pixels, of n pixels that do not see each other: given
# their windows and features [n, window + F], and noise [n, K + 3] times the temperature.
Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]


@lru_cache(maxsize=1)
def _noise_tables() -> tuple[np.ndarray, np.ndarray]:
    """Gumbel and logistic quantiles of the 2^16 cells of a 16-bit uniform number."""
    u = (np.arange(65536) + 0.5) / 65536
    gumbel = -np.log(-np.log(u))
    logistic = np.clip(np.log(u) - np.log1p(-u), -NOISE_BOUND, NOISE_BOUND)
    return gumbel.astype(np.float32), logistic.astype(np.float32)


def band_noise(
    key: int, band: int, width: int, mixtures: int, rows: int = BAND
) -> tuple[np.ndarray, np.ndarray]:
    """Noise of the first rows of one band: Gumbel [rows, width, K], logistic [rows, width, 3].

    Philox (Salmon et al. 2011) with `key` and the band as the counter's third word. Its raw
    output is fixed by its definition, unlike that of numpy's distributions.
    """
    words = -(-(mixtures + CHANNELS) // 4)
    philox = np.random.Philox(key=key, counter=band << 128)
    raw = philox.random_raw(rows * width * words).astype("<u8", copy=False).view("<u2")
    cells = raw.reshape(rows, width, 4 * words)
    gumbel, logistic = _noise_tables()
    return gumbel[cells[:, :, :mixtures]], logistic[cells[:, :, mixtures : mixtures + CHANNELS]]


class TextureSampler:
    """Samples residuals from a PixelCNN."""

    def __init__(self, draw: Draw, config: PhotoConfig, temperature: float | None = None) -> None:
        """At the model's own temperature unless one is given."""
        self.draw = draw
        self.temperature = np.float32(config.temperature if temperature is None else temperature)
        self.mixtures = config.mixtures
        offsets = window_offsets(config.receptive_field)
        rows = sorted({row for row, _ in offsets})
        # Per row of the window: row offset, first column offset, number of columns.
        self.runs = []
        for row in rows:
            columns = [column for r, column in offsets if r == row]
            self.runs.append((row, min(columns), len(columns)))
        self.top = -rows[0]
        self.side = max(abs(column) for _, column in offsets)
        self.skew = wavefront_skew(offsets)
        self.bound = np.float32(WINDOW_BOUND / INPUT_SCALE)
        self.window = CHANNELS * len(offsets)

    def noise(self, key: int, bands: range, rows: int, width: int) -> np.ndarray:
        """Noise of bands of so many rows at the sampler's temperature, [bands, rows, W, K + 3].
        `key`: 64 bits."""
        noise = np.empty((len(bands), rows, width, self.mixtures + CHANNELS), np.float32)
        for band, made in zip(bands, noise, strict=True):
            gumbel, logistic = band_noise(key, band, width, self.mixtures, rows)
            np.multiply(gumbel, self.temperature, out=made[:, :, : self.mixtures])
            np.multiply(logistic, self.temperature, out=made[:, :, self.mixtures :])
        return noise

    def sample(
        self, features: np.ndarray, noise: np.ndarray, progress: Progress | None = None
    ) -> np.ndarray:
        """Residual [3, H, W] on the [0, 1] scale of pixels.

        Args:
            features: [F, H, W] of bands one below the other. The last one may have fewer rows.
            noise: [bands, rows, W, K + 3] from `noise`.
            progress: told the share of the steps that are done.
        """
        count, height, width = features.shape
        bands, rows = noise.shape[:2]
        # Diagonal views need a stride that is not negative.
        wide = max(width, self.skew)
        if wide > width:
            noise = np.pad(noise, ((0, 0), (0, 0), (0, wide - width), (0, 0)))
        walk = _Walk(self, noise, count)
        for index in range(bands):
            band = features[:, index * rows : (index + 1) * rows]
            walk.features[index, : band.shape[1], :width] = band.transpose(1, 2, 0)
        walk.run(width, progress)
        drawn = walk.drawn.reshape(-1, wide, CHANNELS)
        return drawn[:height, :width].transpose(2, 0, 1)


class _Walk:
    """The wavefronts of B independent bands of R rows, and all memory that they need."""

    def __init__(self, sampler: TextureSampler, noise: np.ndarray, features: int) -> None:
        """`noise` [B, R, W, K + 3]; `features`: how many each pixel has."""
        self.sampler, self.noise = sampler, noise
        self.bands, self.rows, width, drawn = noise.shape

        def zeros(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32)

        self.features = zeros(self.bands, self.rows, width, features)
        # Within bounds, with zeros all around for windows at the edges.
        self.seen = zeros(self.bands, sampler.top + self.rows, width + 2 * sampler.side, CHANNELS)
        self.drawn = zeros(self.bands, self.rows, width, CHANNELS)
        most = self.bands * min(self.rows, -(-width // sampler.skew))
        self._inputs = zeros(most, sampler.window + features)
        self._noise = zeros(most, drawn)

    def run(self, width: int, progress: Progress | None) -> None:
        """Fill `drawn` from the other arrays."""
        s = self.sampler
        steps = width + s.skew * (self.rows - 1)
        for t in range(steps):
            y = max(0, -(-(t - width + 1) // s.skew))
            n = min(self.rows - 1, t // s.skew) - y + 1
            if n < 1:  # narrower than the skew: no pixel waits for this step
                continue
            x, count = t - s.skew * y, self.bands * n
            inputs = self._inputs[:count].reshape(self.bands, n, -1)
            filled = 0
            for row, column, places in s.runs:
                size = places * CHANNELS
                seen = self._diagonal(self.seen, y + s.top + row, x + s.side + column, n, places)
                inputs[:, :, filled : filled + size] = seen
                filled += size
            inputs[:, :, filled:] = self._diagonal(self.features, y, x, n)
            noise = self._noise[:count]
            noise.reshape(self.bands, n, -1)[...] = self._diagonal(self.noise, y, x, n)
            value = s.draw(self._inputs[:count], noise).reshape(self.bands, n, CHANNELS)
            self._diagonal(self.drawn, y, x, n)[...] = value
            np.minimum(value, s.bound, out=value)
            np.maximum(value, -s.bound, out=value)
            self._diagonal(self.seen, y + s.top, x + s.side, n)[...] = value
            if progress and t % 256 == 0:
                progress(t / steps)

    def _diagonal(self, x: np.ndarray, y: int, column: int, n: int, count: int = 1) -> np.ndarray:
        """View of the pixels (y + i, column - skew * i), i < n, of every band, each with `count`
        pixels in a row: [bands, n, count * C] of a contiguous x [bands, rows, columns, C]."""
        bands, channels = len(x), x.shape[3]
        band, row, cell, number = x.strides
        return np.ndarray(
            (bands, n, count * channels),
            np.float32,
            x,
            y * row + column * cell,
            (band, row - self.sampler.skew * cell, number),
        )
